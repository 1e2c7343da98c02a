"""Takes out operations that answer with their input, and those that nobody reads."""

from __future__ import annotations

import paddle

from ..records import Constant, Operation, Recorded

__all__ = ["remove_dead", "remove_identities"]


def remove_identities(recorded: Recorded) -> None:
    """Dropouts in evaluation, reshapes to the same shape, copies, casts to the same data type; then what nobody reads."""
    for operation in list(recorded.operations):
        if operation.name == "dropout":
            _dropout(operation, recorded)
        elif _is_identity(operation, recorded):
            _drop(operation, recorded, next(iter(operation.inputs)))
    remove_dead(recorded)


def remove_dead(recorded: Recorded) -> None:
    """Takes out operations whose results nobody reads."""
    wanted, kept = set(recorded.outputs), []
    for operation in reversed(recorded.operations):
        if wanted.intersection(output for output in operation.outputs if output is not None):
            kept.append(operation)
            wanted.update(operation.reads())
    recorded.operations = kept[::-1]


def _drop(operation: Operation, recorded: Recorded, operand: str) -> None:
    output = operation.outputs[0]
    recorded.operations.remove(operation)
    if output is not None:
        recorded.replace(output, operation.operand(operand))


def _dropout(operation: Operation, recorded: Recorded) -> None:
    """With ``upscale_in_train`` training made up for it, else the values are scaled by what was kept."""
    p = _number(operation, "p", recorded)
    if p:
        recorded.removed_dropouts.append(operation.where)
    if operation.attrs["mode"] == "upscale_in_train" or not p:
        _drop(operation, recorded, "x")
        return
    operation.name, operation.outputs = "scale", operation.outputs[:1]
    factor = recorded.add_constant(_scalar(1.0 - p))
    recorded.scalars.add(factor)
    operation.inputs = {"x": operation.inputs["x"], "scale": factor}
    operation.attrs = {"bias": 0.0, "bias_after_scale": True}


def _scalar(value: float) -> Constant:
    return Constant(paddle.full([1], value, "float32"), literal=True)


def _number(operation: Operation, name: str, recorded: Recorded) -> float:
    if name in operation.attrs:
        return float(operation.attrs[name])
    return float(recorded.constants[operation.operand(name)].data.item())


def _is_identity(operation: Operation, recorded: Recorded) -> bool:
    name = operation.name
    if name in ("assign", "share_data", "assign_out"):
        return True
    if not operation.inputs or not isinstance(source := next(iter(operation.inputs.values())), int):
        return False
    if name == "reshape":
        return _same_shape(operation, source, recorded)
    if name == "cast":
        return bool(recorded.dtypes.get(source) == operation.attrs["dtype"])
    if name == "transpose":
        return bool(operation.attrs["perm"] == list(range(len(operation.attrs["perm"]))))
    if name == "scale":
        scale = operation.inputs.get("scale")
        factor = recorded.constants.get(scale) if isinstance(scale, int) else None
        return bool(factor is not None and factor.data.item() == 1.0 and operation.attrs["bias"] == 0.0)
    if name == "flatten":
        return bool(
            operation.attrs["start_axis"] % len(recorded.shapes[source]) == operation.attrs["stop_axis"] % len(recorded.shapes[source])
        )
    return False


def _same_shape(operation: Operation, source: int, recorded: Recorded) -> bool:
    """Each size is kept by name (0) or is the known one; one may be left to be computed, which then can only be the same."""
    shape = operation.inputs["shape"]
    if not isinstance(shape, int) or shape not in recorded.constants:
        return False
    target, sizes = recorded.constants[shape].data.tolist(), recorded.shapes[source]
    if len(target) != len(sizes):
        return False
    changed = [wanted for wanted, size in zip(target, sizes, strict=True) if wanted != 0 and (wanted != size or size < 0)]
    return changed in ([], [-1])
