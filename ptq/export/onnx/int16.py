"""Weights above 8 bits are stored as int16, which the converter to ONNX cannot read: it is given int32, and the file gets int16 back."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from quantizers.errors import CorruptArtifactError

from ...util.extras import import_extra

__all__ = ["narrow", "widen"]

# Paddle's numbers for the dtypes in a description of a tensor, where field 1 is the dtype.
INT16, INT32 = b"\x08\x01", b"\x08\x02"


def widen(program: str, parameters: bytes) -> tuple[str, bytes, bool]:
    """A Paddle program (JSON) and its parameters with int32 in the place of int16, and whether there was any."""
    if '"0.t_i16"' not in program:
        return program, parameters, False
    pieces, offset = [], 0
    while offset < len(parameters):
        # version, level of detail (none), version of the tensor, length of its description
        *_, length = struct.unpack_from("<IQIi", parameters, offset)
        start = offset + struct.calcsize("<IQIi")
        header, description = parameters[offset:start], parameters[start : start + length]
        width, size = _width(description), _size(description)
        data = parameters[start + length : start + length + width * size]
        offset = start + length + len(data)
        if len(data) != width * size:
            raise CorruptArtifactError("the parameters of the saved program are not laid out as this version of Paddle lays them out")
        if description.startswith(INT16):
            description, data = INT32 + description[2:], np.frombuffer(data, np.int16).astype(np.int32).tobytes()
        pieces += [header, description, data]
    return program.replace('"0.t_i16"', '"0.t_i32"'), b"".join(pieces), True


def narrow(model: Any) -> None:
    """Stores the widened weights of an ONNX model as int16 again, in place."""
    helper = import_extra("onnx", "onnx").numpy_helper
    cast = {node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] in cast and node.attribute[0].t.data_type == 6:
            array = helper.to_array(node.attribute[0].t)
            if array.ndim >= 2 and np.array_equal(array, array.astype(np.int16)):
                node.attribute[0].t.CopyFrom(helper.from_array(array.astype(np.int16), node.attribute[0].t.name))


def _width(description: bytes) -> int:
    widths = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2, 23: 8, 24: 16}
    if description[1] not in widths:
        raise CorruptArtifactError(f"the saved program has a parameter of dtype number {description[1]}, which is not known")
    return widths[description[1]]


def _size(description: bytes) -> int:
    """Number of values: the product of the varints of field 2."""
    size, position = 1, 2
    while position < len(description):
        if description[position] != 0x10:
            raise CorruptArtifactError("a tensor's description in the saved program has an unknown field")
        value, shift, position = 0, 0, position + 1
        while True:
            byte = description[position]
            value, shift, position = value | (byte & 0x7F) << shift, shift + 7, position + 1
            if byte < 0x80:
                break
        size *= value
    return size
