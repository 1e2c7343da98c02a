"""Finds convolutions along one axis again: Paddle saves them as two-dimensional ones with an axis put in and taken out."""

from __future__ import annotations

from ..records import Constant, Operation, Recorded

__all__ = ["restore_conv1d"]

NAMES = {
    "conv2d": "conv1d",
    "depthwise_conv2d": "conv1d",
    "conv2d_transpose": "conv1d_transpose",
    "depthwise_conv2d_transpose": "conv1d_transpose",
}


def restore_conv1d(recorded: Recorded) -> None:
    """``unsqueeze``, ``conv2d``, ``squeeze`` over the same axis become ``conv1d``, transposed ones alike."""
    readers = recorded.readers()
    writers = {output: operation for operation in recorded.operations for output in operation.outputs if output is not None}
    for operation in list(recorded.operations):
        if operation.name not in NAMES:
            continue
        source = "input" if "input" in operation.inputs else "x"
        before = writers.get(operation.operand(source))
        after = readers[operation.outputs[0]] if operation.outputs[0] is not None else []
        axis = _axis(before, "unsqueeze", recorded)
        if before is None or axis is None or len(after) != 1 or _axis(after[0], "squeeze", recorded) != axis:
            continue
        if operation.outputs[0] in recorded.outputs or not _flat(operation, axis, recorded):
            continue
        _restore(operation, axis, source, before, after[0], recorded)


def _axis(operation: Operation | None, name: str, recorded: Recorded) -> int | None:
    """The axis, of four, that an operation puts in or takes out."""
    if operation is None or operation.name != name:
        return None
    axes = operation.inputs["axis"]
    constant = recorded.constants.get(axes) if isinstance(axes, int) else None
    if constant is None:
        return None
    numbers = constant.data.reshape([-1]).tolist()
    return numbers[0] % 4 if len(numbers) == 1 else None


def _flat(operation: Operation, axis: int, recorded: Recorded) -> bool:
    """Whether the axis takes no part in the convolution."""
    attrs = operation.attrs
    if attrs["data_format"] != "NCHW" or attrs["padding_algorithm"] != "EXPLICIT" or len(attrs["paddings"]) != 2:
        return False
    spatial = axis - 2
    weight = recorded.constants.get(operation.operand("filter"))
    sizes = operation.inputs.get("output_size")
    empty = sizes is None or (isinstance(sizes, int) and sizes in recorded.constants and recorded.constants[sizes].data.size == 0)
    return (
        spatial in (0, 1)
        and weight is not None
        and weight.data.shape[axis] == 1
        and attrs["paddings"][spatial] == 0
        and attrs["strides"][spatial] == 1
        and empty
        and not attrs.get("output_padding")
    )


def _restore(operation: Operation, axis: int, source: str, before: Operation, after: Operation, recorded: Recorded) -> None:
    other = 3 - axis  # the spatial axis that stays, of two
    weight = recorded.constants[operation.operand("filter")]
    value = recorded.add_constant(Constant(weight.data.squeeze(axis), weight.parameter, weight.trainable))
    operation.name = NAMES[operation.name]
    operation.inputs = {**operation.inputs, source: before.operand("x"), "filter": value}
    for name in ("strides", "paddings", "dilations"):
        operation.attrs[name] = [operation.attrs[name][other]]
    operation.outputs = after.outputs[:1]
    recorded.operations.remove(after)
