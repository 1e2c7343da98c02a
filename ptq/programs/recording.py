"""Turns Paddle's program into records."""

from __future__ import annotations

from collections import Counter
from typing import Any

import paddle

from quantizers.errors import ProgramError

from ..util.paddle_private import core
from .records import Constant, Dtype, Operand, Operation, Parameter, Port, Recorded

__all__ = ["record"]

# The CPU has no kernels for these, and int8 is derived from float32: what the program computes in them is computed in float32.
WIDENED = {"float16": "float32", "bfloat16": "float32"}
NAMES = {getattr(core.DataType, name): name.lower() for name in dir(core.DataType) if name.isupper()}
HOUSEKEEPING = ("persistable", "stop_gradient", "struct_name", "place", "op_callstack", "op_role")


def record(program: Any) -> tuple[Recorded, Counter[str]]:
    """The records of a `paddle.pir.Program`, and how often each operator with operations inside occurs in it.

    Raises:
        ProgramError: the program returns nothing.
    """
    return _Recording().run(program.global_block())


class _Recording:
    def __init__(self) -> None:
        self.recorded = Recorded()
        self.numbers: dict[int, int] = {}
        self.combined: dict[int, tuple[int, ...]] = {}
        self.feeds: list[tuple[int, int, Port]] = []
        self.fetches: list[tuple[int, int]] = []
        self.nesting: Counter[str] = Counter()

    def run(self, block: Any) -> tuple[Recorded, Counter[str]]:
        for index, op in enumerate(block.ops):
            self._add(index, op)
        if not self.fetches:
            raise ProgramError("the program returns nothing: it has no fetch operation, so it was not saved for inference")
        recorded = self.recorded
        self.feeds.sort(key=lambda feed: feed[0])
        recorded.inputs = [value for _, value, _ in self.feeds]
        recorded.input_ports = [port for _, _, port in self.feeds]
        recorded.outputs = [value for _, value in sorted(self.fetches)]
        recorded.size = len(self.numbers)
        return recorded, self.nesting

    def _number(self, value: Any) -> int | None:
        if value is None or not value.initialized():
            return None
        number = self.numbers.setdefault(value.id, len(self.numbers))
        if number not in self.recorded.shapes and value.is_dense_tensor_type():
            self.recorded.shapes[number] = tuple(int(size) for size in value.shape)
            name = NAMES.get(value.dtype, "undefined")
            self.recorded.dtypes[number] = WIDENED.get(name, name)
        return number

    def _operand(self, value: Any) -> Operand:
        number = self._number(value)
        return number if number is None else self.combined.get(number, number)

    def _add(self, index: int, op: Any) -> None:
        name = op.name()
        attrs = op.attrs()
        results = tuple(self._number(value) for value in op.results())
        if name == "builtin.parameter":
            self._parameter(op.results()[0], results[0], attrs)
        elif name in ("pd_op.data", "pd_op.feed"):
            self._feed(results[0], attrs)
        elif name == "pd_op.fetch":
            number = self._number(op.operands_source()[0])
            self.fetches.append((int(attrs["col"]), number if number is not None else -1))
        elif name == "builtin.combine" and results[0] is not None:
            values = tuple(self._number(value) for value in op.operands_source())
            self.combined[results[0]] = tuple(value for value in values if value is not None)
        elif name not in ("builtin.shadow_output", "pd_op.shadow_output"):
            self.recorded.operations.append(self._operation(index, op, attrs, results))

    def _parameter(self, value: Any, number: int | None, attrs: dict[str, Any]) -> None:
        if number is None:
            return
        saved = all(attrs.get("persistable", [True])) and not str(attrs["parameter_name"]).endswith("__non_persistable")
        self.recorded.parameters.append(
            Parameter(
                number,
                attrs["parameter_name"],
                tuple(int(size) for size in value.shape),
                NAMES.get(value.dtype, "undefined"),
                saved,
                all(attrs.get("trainable", [False])),
            )
        )

    def _feed(self, number: int | None, attrs: dict[str, Any]) -> None:
        if number is None:
            return
        column = int(attrs.get("col", len(self.feeds)))
        port = Port(attrs["name"], self.recorded.shapes[number], self.recorded.dtypes[number])
        self.feeds.append((column, number, port))

    def _operation(self, index: int, op: Any, attrs: dict[str, Any], results: tuple[int | None, ...]) -> Operation:
        dialect, _, name = op.name().partition(".")
        name = name.rstrip("_")  # the mark of variants that write into their operand, which programs never read again
        blocks = list(op.blocks())
        if blocks:
            self.nesting[name] += 1
        known = dialect == "pd_op" and not blocks
        operands = [self._operand(value) for value in op.operands_source()]
        names = op.get_input_names() if known else [f"x{number}" for number in range(len(operands))]
        plain = {key: _plain(value) for key, value in attrs.items() if key not in HOUSEKEEPING}
        if name in ("full", "full_int_array"):
            self._literal(name, plain, results[0])
        return Operation(
            name if dialect == "pd_op" else f"{dialect}.{name}",
            dict(zip(names, operands, strict=True)),
            plain,
            results,
            str(attrs.get("struct_name", "")),
            index,
        )

    def _literal(self, name: str, attrs: dict[str, Any], result: int | None) -> None:
        """A number or a list of numbers written in the program; large ones are kept too, since they are computed once."""
        if result is None:
            return
        value, dtype = attrs["value"], attrs["dtype"]
        if name == "full":
            tensor = paddle.full(attrs["shape"], value, dtype)
            self.recorded.scalars.add(result)
        else:
            tensor = paddle.to_tensor(value, dtype=dtype) if value else paddle.empty([0], dtype=dtype)
        self.recorded.constants[result] = Constant(tensor, literal=True)


def _plain(value: Any) -> Any:
    """An attribute as a Python value; data types by name."""
    if isinstance(value, core.DataType):
        name = NAMES[value]
        return Dtype(WIDENED.get(name, name))
    return list(value) if isinstance(value, (list, tuple)) else value
