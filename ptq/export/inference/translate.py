"""Each operation of the plain program in its legacy form: from the table, or by a function of its own."""

from __future__ import annotations

from quantizers.errors import ExportError

from .program import Op, Operand
from .special import SPECIAL
from .table import RULES
from .writer import Writer

__all__ = ["translate"]


def translate(writer: Writer) -> None:
    """Writes every operation.

    Raises:
        ExportError: one has no legacy form that Paddle Inference's int8 engine runs.
    """
    for op in writer.source.ops:
        try:
            _translate(writer, op)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ExportError(f"{op.place()}: Paddle refuses it ({_cause(error)}); use the format 'onnx'") from error


def _translate(writer: Writer, op: Op) -> None:
    if op.kind in SPECIAL:
        SPECIAL[op.kind](writer, op)
        return
    rule = RULES.get(op.kind)
    if rule is None:
        raise ExportError(f"{op.place()} has no form that Paddle Inference's int8 engine runs; use the format 'onnx'")
    inputs: dict[str, Operand] = {}
    attrs = {new: op.attrs[old] for new, old in rule.attrs if old in op.attrs}
    for name, operand in zip(rule.inputs, op.inputs, strict=False):
        if name.startswith(("@", "#")):
            numbers = writer.constants(op, operand)
            attrs[name[1:]] = numbers if name[0] == "@" else numbers[0]
        else:
            inputs[name] = operand
    groups = (op.outputs,) if len(rule.outputs) == 1 else [[name] for name in op.outputs]
    writer.append(rule.type, inputs, dict(zip(rule.outputs, groups, strict=False)), attrs)


def _cause(error: Exception) -> str:
    """The line of Paddle's message that says what was wrong; the last one only names the operation."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line or line.startswith("[Hint")]
    return (told or lines or [type(error).__name__])[-1][:300]
