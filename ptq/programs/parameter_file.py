"""Reads Paddle's files of parameters: tensors one behind the other, in the order of their names, without names.

Read here and not by Paddle, because Paddle pairs any program with any file: it answers with the wrong weights, or ends the process.
Each tensor is a version (4 bytes), a count of levels (8 bytes) with the levels, another version (4), the length of a description (4),
the description, a protobuf message of data type (field 1) and sizes (field 2), and the elements.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import ProgramError

from .files import ProgramFiles
from .records import Parameter

__all__ = ["DTYPES", "read_parameters"]

# Numbers of data types in the description, and of variables in legacy programs; a bfloat16 is read as the 16 bits that it is.
DTYPES = {
    0: "bool",
    1: "int16",
    2: "int32",
    3: "int64",
    4: "float16",
    5: "float32",
    6: "float64",
    20: "uint8",
    21: "int8",
    22: "bfloat16",
    23: "complex64",
    24: "complex128",
}


@dataclass
class _Tensor:
    dtype: str
    shape: tuple[int, ...]
    array: np.ndarray[Any, Any]


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise ProgramError(f"{path} cannot be read: {error.strerror or error}") from error
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, size: int, number: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ProgramError(f"{self.path} is cut or no file of parameters: tensor {number} wants {size} bytes, {self.left} are left")
        self.position += size
        return self.data[self.position - size : self.position]

    def tensor(self, number: int) -> _Tensor:
        version, levels = struct.unpack("<IQ", self.take(12, number))
        if version != 0 or levels > 8:
            raise ProgramError(
                f"{self.path} is no file of parameters, or an encrypted one: tensor {number} has version {version} and {levels} levels"
            )
        for _ in range(levels):
            self.take(struct.unpack("<Q", self.take(8, number))[0], number)
        version, length = struct.unpack("<Ii", self.take(8, number))
        dtype, shape = _description(self.take(length, number), self.path, number)
        numpy_dtype = np.dtype("uint16" if dtype == "bfloat16" else dtype)
        data = self.take(math.prod(shape) * numpy_dtype.itemsize, number)
        return _Tensor(dtype, shape, np.frombuffer(data, numpy_dtype).reshape(shape))


def _description(data: bytes, path: Path, number: int) -> tuple[str, tuple[int, ...]]:
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            if position >= len(data) or shift > 63:
                raise ProgramError(f"{path}: the description of tensor {number} is damaged")
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    dtype, shape = -1, []
    while position < len(data):
        key = varint()
        if key == 8:
            dtype = varint()
        elif key == 16:
            shape.append(varint())
        elif key == 18:
            end = varint() + position
            while position < end:
                shape.append(varint())
        else:
            raise ProgramError(f"{path}: the description of tensor {number} is damaged")
    if dtype not in DTYPES or any(size >= 1 << 48 for size in shape):
        raise ProgramError(f"{path}: tensor {number} has data type {dtype} and sizes {shape}, which no file of parameters has")
    return DTYPES[dtype], tuple(shape)


def read_parameters(files: ProgramFiles, parameters: Sequence[Parameter]) -> dict[str, np.ndarray[Any, Any]]:
    """The data of all parameters that the file has, by name; a bfloat16 as uint16.

    Raises:
        ProgramError: the file is missing, cut or damaged, or belongs to another program (counts, shapes or data types differ).
    """
    wanted = sorted((parameter for parameter in parameters if parameter.saved), key=lambda parameter: parameter.name)
    if not wanted:
        return {}
    if files.separate:
        return {parameter.name: _checked(_alone(files.parameters / parameter.name), parameter, files) for parameter in wanted}
    if not files.parameters.is_file():
        raise ProgramError(f"the program {files.model} has {len(wanted)} parameters, and there is no file {files.parameters}")
    reader, found = _Reader(files.parameters), {}
    for number, parameter in enumerate(wanted):
        if not reader.left:
            raise ProgramError(
                f"{files.parameters} holds {number} tensors, the program {files.model} has {len(wanted)} parameters: it is cut, "
                "or belongs to another program"
            )
        found[parameter.name] = _checked(reader.tensor(number), parameter, files)
    if reader.left:
        raise ProgramError(
            f"{files.parameters} holds more than the {len(wanted)} parameters of the program {files.model}: it belongs to another program"
        )
    return found


def _alone(path: Path) -> _Tensor:
    if not path.is_file():
        raise ProgramError(f"there is no file {path} for the parameter {path.name}")
    reader = _Reader(path)
    tensor = reader.tensor(0)
    if reader.left:
        raise ProgramError(f"{path} holds more than the one parameter {path.name}")
    return tensor


def _checked(tensor: _Tensor, parameter: Parameter, files: ProgramFiles) -> np.ndarray[Any, Any]:
    same_shape = len(tensor.shape) == len(parameter.shape) and all(
        size in (-1, have) for have, size in zip(tensor.shape, parameter.shape, strict=True)
    )
    if not same_shape or tensor.dtype != parameter.dtype:
        raise ProgramError(
            f"{files.parameters} belongs to another program: the parameter {parameter.name} is {parameter.dtype} "
            f"{list(parameter.shape)} in {files.model} and {tensor.dtype} {list(tensor.shape)} in the file"
        )
    return tensor.array
