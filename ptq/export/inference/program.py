"""The saved program as plain Python: operations in order, tensors by name."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantizers.errors import ExportError

__all__ = ["Op", "Operand", "Program", "Tensor", "dtype_name", "read_program"]

# A tensor by name, a list of them, or an argument that was left out.
Operand = str | tuple[str, ...] | None


def dtype_name(dtype: Any) -> str:
    """A Paddle dtype's NumPy name; bfloat16 keeps its own."""
    return str(dtype).removeprefix("paddle.")


@dataclass(frozen=True)
class Tensor:
    """Shape (-1: free) and dtype of a tensor."""

    shape: tuple[int, ...]
    dtype: str


@dataclass
class Op:
    """One operation: its PIR name without dialect and in-place mark, operands, results and attributes."""

    kind: str
    inputs: list[Operand]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)

    def place(self) -> str:
        """The operation, and the classes of the layers around it, for messages."""
        return f"operation {self.kind!r} in {self.attrs.get('struct_name') or 'the model'}"

    def reads(self) -> Iterator[str]:
        """Names of all tensors that it reads."""
        for operand in self.inputs:
            yield from operand if isinstance(operand, tuple) else () if operand is None else (operand,)


@dataclass
class Program:
    """``arrays`` holds parameters and constants; an operation's results are in ``tensors`` only."""

    ops: list[Op] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def producers(self) -> dict[str, Op]:
        """The operation that computes each tensor."""
        return {name: op for op in self.ops for name in op.outputs}

    def readers(self) -> dict[str, list[Op]]:
        """The operations that read each tensor."""
        found: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in op.reads():
                found.setdefault(name, []).append(op)
        return found

    def rename(self, names: Mapping[str, str], keep: Container[str] = ()) -> None:
        """Makes every reader of a tensor read another one instead, chains of renames included; kinds to ``keep`` read what they read."""

        def final(name: str) -> str:
            while name in names:
                name = names[name]
            return name

        for op in self.ops:
            if op.kind not in keep:
                op.inputs = [tuple(map(final, item)) if isinstance(item, tuple) else item and final(item) for item in op.inputs]
        self.outputs = [final(name) for name in self.outputs]

    def add_array(self, name: str, content: Any) -> None:
        """Stores a new constant."""
        self.arrays[name] = np.asarray(content)
        self.tensors[name] = Tensor(self.arrays[name].shape, str(self.arrays[name].dtype))

    def drop_unread(self) -> None:
        """Removes the operations whose results nobody reads."""
        needed, kept = set(self.outputs), []
        for op in reversed(self.ops):
            if needed.intersection(op.outputs):
                needed.update(op.reads())
                kept.append(op)
        self.ops = kept[::-1]


def read_program(program: Any, scope: Any) -> tuple[Program, dict[str, Any]]:
    """Reads a PIR program.

    Args:
        program: a `paddle.pir.Program`, loaded in static mode.
        scope: where its parameters are.

    Returns:
        The program, and the PIR value of each of its tensors.

    Raises:
        ExportError: it holds control flow.
    """
    reader = _Reader(scope)
    for op in program.global_block().ops:
        reader.read(op)
    return reader.program, reader.values


class _Reader:
    """Walks the program once; a value that is a list is known by the names of its parts."""

    def __init__(self, scope: Any) -> None:
        self.program = Program()
        self.values: dict[str, Any] = {}
        self._scope = scope
        self._names: dict[Any, Operand] = {}
        self._special = {
            "builtin.parameter": self._parameter,
            "builtin.combine": self._combine,
            "builtin.split": self._split,
            "builtin.slice": self._slice,
            "pd_op.data": self._data,
            "pd_op.fetch": self._fetch,
            "pd_op.full": self._constant,
            "pd_op.full_int_array": self._constant,
            "pd_op.assign_value_": self._constant,
        }

    def read(self, op: Any) -> None:
        name = op.name()
        if list(op.blocks()):
            raise ExportError(f"{name}: Paddle Inference's int8 engine runs no control flow; use the format 'onnx'")
        if name in self._special:
            self._special[name](op, op.attrs())
            return
        kind = name.partition(".")[2].removesuffix("_")
        sources = op.operands_source()
        inputs = [self._names[value.id] if value is not None and value.initialized() else None for value in sources]
        outputs = [part for value in op.results() for part in self._results(value, kind)]
        self.program.ops.append(Op(kind, inputs, outputs, op.attrs()))
        if name.endswith("_") and len(outputs) == 1 and sources[0].shape == op.result(0).shape:
            self._names[sources[0].id] = outputs[0]  # changed in place: later readers see the new content

    def _results(self, value: Any, kind: str) -> tuple[str, ...]:
        kinds = [value] if value.is_dense_tensor_type() else value.type().as_vec_type().as_list() if value.initialized() else []
        parts = tuple(self._define(part, self._free_name(kind)) for part in kinds)
        self._names[value.id] = parts[0] if value.is_dense_tensor_type() else parts
        if value.is_dense_tensor_type():
            self.values[parts[0]] = value
        return parts

    def _free_name(self, kind: str) -> str:
        numbers = itertools.count(len(self.program.tensors))
        return next(name for number in numbers if (name := f"{kind}_{number}") not in self.program.tensors)

    def _define(self, value: Any, name: str) -> str:
        self.program.tensors[name] = Tensor(tuple(value.shape), dtype_name(value.dtype))
        return name

    def _parameter(self, op: Any, attrs: Any) -> None:
        name = attrs["parameter_name"]
        self._names[op.result(0).id] = self._define(op.result(0), name)
        self.program.arrays[name] = np.array(self._scope.find_var(name).get_tensor())

    def _data(self, op: Any, attrs: Any) -> None:
        self._names[op.result(0).id] = self._define(op.result(0), attrs["name"])
        self.program.inputs.append(attrs["name"])

    def _fetch(self, op: Any, _attrs: Any) -> None:
        self.program.outputs.append(str(self._names[op.operand_source(0).id]))

    def _constant(self, op: Any, attrs: Any) -> None:
        (name,) = self._results(op.result(0), op.name().partition(".")[2].removesuffix("_"))
        content = attrs["value"] if "value" in attrs else attrs["values"]
        array = np.array(content, dtype_name(attrs["dtype"]))
        self.program.arrays[name] = np.full(attrs["shape"], array) if array.ndim == 0 else array.reshape(attrs.get("shape", array.shape))

    def _combine(self, op: Any, _attrs: Any) -> None:
        self._names[op.result(0).id] = tuple(str(self._names[value.id]) for value in op.operands_source())

    def _split(self, op: Any, _attrs: Any) -> None:
        for value, part in zip(op.results(), self._names[op.operand_source(0).id] or (), strict=True):
            self._names[value.id] = part
            self.values[part] = value

    def _slice(self, op: Any, attrs: Any) -> None:
        parts = self._names[op.operand_source(0).id] or ()
        self._names[op.result(0).id] = parts[attrs["index"]]
