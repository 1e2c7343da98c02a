"""Parameters that scale or shift what a layer computes become part of the layer's weight and bias.

They are biases, which the file adds in a separate operation, and the learned affine maps that PP-LCNet has after its convolutions and
activations.  Sums and products are made in float64 and rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from ..records import Constant, Operation, Recorded

__all__ = ["absorb_into_readers", "absorb_into_writers"]

Array = np.ndarray[Any, Any]
CONVOLUTIONS = ("conv2d", "depthwise_conv2d", "conv3d")
TRANSPOSED = ("conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose")
WEIGHTS = {**dict.fromkeys((*CONVOLUTIONS, *TRANSPOSED), "filter"), "linear": "weight", "batch_norm": "scale"}


def absorb_into_writers(recorded: Recorded, fold_scales: bool = True) -> None:
    """A constant per channel that is added to, or multiplied with, the result of a layer goes into that layer.

    Without ``fold_scales`` only biases do, one for each layer that has none, and nothing is rounded.
    """
    for operation in list(recorded.operations):
        if operation.name in WEIGHTS and _has_weight(operation, recorded):
            while _absorb_next(operation, recorded, fold_scales):
                pass


def _has_weight(operation: Operation, recorded: Recorded) -> bool:
    constant = recorded.constants.get(operation.operand(WEIGHTS[operation.name]))
    return constant is not None and constant.data.dtype == paddle.float32


def _absorb_next(operation: Operation, recorded: Recorded, fold_scales: bool) -> bool:
    output = operation.outputs[0]
    follower = _only_reader(output, recorded)
    if output is None or follower is None or follower.name not in ("add", "multiply"):
        return False
    if not fold_scales and (follower.name == "multiply" or operation.inputs.get("bias") is not None):
        return False
    other = follower.operand("y" if follower.inputs["x"] == output else "x")
    channels = _channels(operation, recorded)
    vector = _per_channel(other, recorded, len(recorded.shapes[output]), _channel_axis(operation, recorded, output), channels)
    if vector is None or recorded.constants[other].literal:
        return False
    if follower.name == "multiply" or operation.name == "batch_norm":
        if not _is_alone(operation, recorded):
            return False
        _scale_result(operation, recorded, vector, follower.name == "multiply")
    else:
        _shift_result(operation, recorded, vector, other)
    recorded.operations.remove(follower)
    operation.outputs = (*follower.outputs[:1], *operation.outputs[1:])
    return True


def _only_reader(value: int | None, recorded: Recorded) -> Operation | None:
    if value is None or value in recorded.outputs:
        return None
    readers = [operation for operation in recorded.operations for read in operation.reads() if read == value]
    return readers[0] if len(readers) == 1 else None


def _is_alone(operation: Operation, recorded: Recorded) -> bool:
    """Whether no other operation reads the layer's weight: one that is shared cannot be scaled for one of its readers."""
    weight = operation.operand(WEIGHTS[operation.name])
    parameter = recorded.constants[weight].parameter
    sharing = [
        value
        for other in recorded.operations
        for value in other.reads()
        if value == weight or (parameter and value in recorded.constants and recorded.constants[value].parameter == parameter)
    ]
    return len(sharing) == 1


def _channels(operation: Operation, recorded: Recorded) -> int:
    shape = recorded.shapes[operation.operand(WEIGHTS[operation.name])]
    if operation.name in TRANSPOSED:
        return shape[1] * int(operation.attrs["groups"])
    return shape[1] if operation.name == "linear" else shape[0]


def _channel_axis(operation: Operation, recorded: Recorded, output: int) -> int:
    axes = len(recorded.shapes[output])
    last = operation.name == "linear" or operation.attrs["data_format"] in ("NHWC", "NDHWC", "NLC") or axes == 2
    return axes - 1 if last else 1


def _per_channel(value: int, recorded: Recorded, axes: int, axis: int, channels: int) -> Array | None:
    """A constant as one number for each channel; ``None`` when it is unknown or differs along another axis."""
    constant = recorded.constants.get(value)
    if constant is None or constant.data.dtype != paddle.float32 or constant.data.ndim > axes:
        return None
    shape = (1,) * (axes - constant.data.ndim) + tuple(constant.data.shape)
    if any(size != 1 for index, size in enumerate(shape) if index != axis) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(constant.data.numpy().astype("float64").reshape(-1), [channels]).copy()


def _data(operand: Any, recorded: Recorded) -> Array:
    return np.asarray(recorded.constants[operand].data.numpy(), dtype="float64")


def _set(operation: Operation, name: str, array: Array, recorded: Recorded) -> None:
    tensor, old = paddle.to_tensor(array.astype("float32")), operation.inputs.get(name)
    origin = recorded.constants[old].origin if isinstance(old, int) else ""
    operation.inputs[name] = recorded.add_constant(Constant(tensor, trainable=True, origin=origin))


def _shift_result(operation: Operation, recorded: Recorded, vector: Array, source: int) -> None:
    bias = operation.inputs.get("bias")
    if bias is None:
        # as it is in the file, so that layers that share it are known to
        constant = recorded.constants[source]
        tensor = constant.data.reshape([-1]) if constant.data.size == len(vector) else paddle.to_tensor(vector.astype("float32"))
        operation.inputs["bias"] = recorded.add_constant(Constant(tensor, constant.parameter, constant.trainable))
    else:
        _set(operation, "bias", _data(bias, recorded) + vector, recorded)


def _scale_result(operation: Operation, recorded: Recorded, vector: Array, multiply: bool) -> None:
    bias = operation.inputs.get("bias")
    if not multiply:  # of a batch norm, whose bias is there already
        _set(operation, "bias", _data(bias, recorded) + vector, recorded)
        return
    name = WEIGHTS[operation.name]
    weight = _data(operation.inputs[name], recorded)
    if operation.name in TRANSPOSED:
        groups = int(operation.attrs["groups"])
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        scaled = (grouped * vector.reshape(groups, 1, weight.shape[1], *[1] * (weight.ndim - 2))).reshape(weight.shape)
    elif operation.name == "linear":
        scaled = weight * vector
    else:
        scaled = weight * vector.reshape(-1, *[1] * (weight.ndim - 1))
    _set(operation, name, scaled, recorded)
    if bias is not None:
        _set(operation, "bias", _data(bias, recorded) * vector, recorded)


def absorb_into_readers(recorded: Recorded) -> None:
    """A parameter that scales what several layers read goes into their weights; one that shifts it into their biases.

    A shift cannot cross the zeros that a convolution pads with.  Where it must stay it is divided by the scale that went on.
    """
    for operation in list(recorded.operations):
        if operation in recorded.operations and operation.name == "multiply":
            _absorb_scale(operation, recorded)
    for operation in list(recorded.operations):
        if operation in recorded.operations and operation.name == "add":
            _absorb_shift(operation, recorded)


def _constant_operand(operation: Operation, recorded: Recorded) -> tuple[int, int] | None:
    """The computed operand and the constant one, which holds parameters."""
    x, y = operation.operand("x"), operation.operand("y")
    for computed, known in ((x, y), (y, x)):
        if computed not in recorded.constants and known in recorded.constants and not recorded.constants[known].literal:
            return computed, known
    return None


def _foldable(value: int, recorded: Recorded) -> list[Operation] | None:
    """The layers that read a value, if layers alone do and each has its weight for itself."""
    readers = [operation for operation in recorded.operations if value in operation.reads()]
    usable = all(
        operation.name in (*CONVOLUTIONS, *TRANSPOSED, "linear")
        and next(iter(operation.inputs.values())) == value
        and _has_weight(operation, recorded)
        and _is_alone(operation, recorded)
        for operation in readers
    )
    return readers if readers and usable and value not in recorded.outputs else None


def _input_vector(known: int, value: int, readers: list[Operation], recorded: Recorded) -> Array | None:
    axes = len(recorded.shapes[value])
    found = None
    for operation in readers:
        axis = _channel_axis(operation, recorded, value)
        shape = recorded.shapes[operation.operand(WEIGHTS[operation.name])]
        channels = shape[1] * int(operation.attrs["groups"]) if operation.name in CONVOLUTIONS else shape[0]
        found = _per_channel(known, recorded, axes, axis, channels)
        if found is None:
            return None
    return found


def _absorb_scale(operation: Operation, recorded: Recorded) -> None:
    operands, output = _constant_operand(operation, recorded), operation.outputs[0]
    if operands is None or output is None:
        return
    computed, known = operands
    follower = _only_reader(output, recorded)
    shift = _constant_operand(follower, recorded) if follower is not None and follower.name == "add" else None
    last = follower.outputs[0] if follower is not None and shift is not None else output
    readers = _foldable(last, recorded) if last is not None else None
    vector = _input_vector(known, last, readers, recorded) if readers and last is not None else None
    if readers is None or vector is None or not np.all(np.abs(vector) > 1e-12):
        return
    if follower is not None and shift is not None:
        offset = _data(shift[1], recorded) / _data(known, recorded)
        follower.inputs = {"x": computed, "y": recorded.add_constant(Constant(paddle.to_tensor(offset.astype("float32")), trainable=True))}
    else:
        recorded.replace(output, computed)
    recorded.operations.remove(operation)
    for reader in readers:
        _scale_input(reader, recorded, vector)


def _scale_input(operation: Operation, recorded: Recorded, vector: Array) -> None:
    name = WEIGHTS[operation.name]
    weight = _data(operation.inputs[name], recorded)
    _set(operation, name, weight * _along_inputs(operation, weight, vector), recorded)


def _along_inputs(operation: Operation, weight: Array, vector: Array) -> Array:
    """The numbers of the input channels, so shaped that they meet the weights that read them."""
    if operation.name not in CONVOLUTIONS:
        return vector.reshape(-1, *[1] * (weight.ndim - 1))
    groups = int(operation.attrs["groups"])
    per_group = vector.reshape(groups, 1, weight.shape[1])
    repeated = np.broadcast_to(per_group, (groups, weight.shape[0] // groups, weight.shape[1]))
    return repeated.reshape(weight.shape[0], weight.shape[1], *[1] * (weight.ndim - 2))


def _absorb_shift(operation: Operation, recorded: Recorded) -> None:
    operands, output = _constant_operand(operation, recorded), operation.outputs[0]
    readers = _foldable(output, recorded) if operands is not None and output is not None else None
    if operands is None or output is None or readers is None or not all(map(_pads_nothing, readers)):
        return
    vector = _input_vector(operands[1], output, readers, recorded)
    if vector is None:
        return
    for reader in readers:
        weight = _data(reader.inputs[WEIGHTS[reader.name]], recorded)
        shifted = weight * _along_inputs(reader, weight, vector)
        gained = shifted.sum(0) if reader.name == "linear" else shifted.reshape(len(weight), -1).sum(1)
        bias = reader.inputs.get("bias")
        _set(reader, "bias", gained if bias is None else _data(bias, recorded) + gained, recorded)
    recorded.operations.remove(operation)
    recorded.replace(output, operands[0])


def _pads_nothing(operation: Operation) -> bool:
    if operation.name == "linear":
        return True
    algorithm = operation.attrs["padding_algorithm"]
    return operation.name in CONVOLUTIONS and (algorithm == "VALID" or (algorithm == "EXPLICIT" and not any(operation.attrs["paddings"])))
