"""Builds a legacy ``ProgramDesc``, operation by operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from quantizers.errors import ExportError

from ...util.paddle_private import needed_outputs
from .program import Op, Operand, Program, Tensor

__all__ = ["Writer"]


class Writer:
    """Builds one legacy program; use it inside `OldIrGuard`, in a process of its own."""

    def __init__(self, program: Program, scope: Any) -> None:
        self.source = program
        self.program = paddle.static.Program()
        self._block = self.program.global_block()
        self._scope = scope
        self._variables: dict[str, Any] = {}
        for name in program.inputs:
            tensor = program.tensors[name]
            self._variables[name] = self._block.create_var(
                name=name, shape=tensor.shape, dtype=tensor.dtype, is_data=True, need_check_feed=True
            )

    def append(self, kind: str, inputs: dict[str, Operand], outputs: dict[str, list[str]], attrs: dict[str, Any]) -> None:
        """Appends one legacy operation; an absent operand is left out."""
        given = {slot: self.variables(operand) for slot, operand in inputs.items() if operand is not None}
        made = {slot: [self._result(name) for name in names] for slot, names in outputs.items()}
        for slot in needed_outputs(kind):
            if slot not in made:
                made[slot] = [self._block.create_var(dtype="float32")]
        self._block.append_op(type=kind, inputs=given, outputs=made, attrs=attrs)

    def feeds(self) -> list[Any]:
        """The program's inputs."""
        return self.variables(tuple(self.source.inputs))

    def fetches(self) -> list[Any]:
        """The program's outputs, each a computed variable of its own: an input, a constant or a repeated output becomes a copy."""
        names: list[str] = []
        for number, name in enumerate(self.source.outputs):
            if name in names or name in self.source.inputs or name in self.source.arrays:
                copy = self.temporary(name, f"{name}.output{number}")
                self.append("assign", {"X": name}, {"Out": [copy]}, {})
                name = copy
            names.append(name)
        return self.variables(tuple(names))

    def variables(self, operand: Operand) -> list[Any]:
        """The legacy variables of an operand; a parameter or constant is declared when it is first read."""
        names = operand if isinstance(operand, tuple) else (str(operand),)
        return [self._variables[name] if name in self._variables else self.declare(name, self.source.arrays[name]) for name in names]

    def declare(self, name: str, array: np.ndarray) -> Any:
        """A persistable variable with that content."""
        variable = self._block.create_var(name=name, shape=array.shape, dtype=str(array.dtype), persistable=True)
        self._scope.var(name).get_tensor().set(np.ascontiguousarray(array), paddle.CPUPlace())
        self._variables[name] = variable
        return variable

    def temporary(self, like: str, name: str, dtype: str = "") -> str:
        """The name of a new intermediate result, of the dtype of the tensor ``like`` or the given one."""
        self.source.tensors[name] = Tensor((), dtype or self.source.tensors[like].dtype)
        return name

    def _result(self, name: str) -> Any:
        tensor = self.source.tensors[name]
        self._variables[name] = self._block.create_var(name=name, dtype=tensor.dtype)
        return self._variables[name]

    def constants(self, op: Op, operand: Operand) -> list[Any]:
        """The numbers of a constant operand.

        Raises:
            ExportError: the program computes it.
        """
        array = self.source.arrays.get(str(operand))
        if array is None:
            raise ExportError(f"{op.place()} takes a computed argument where Paddle Inference needs a constant; use the format 'onnx'")
        if array.dtype == np.int64:
            array = array.clip(-(2**31), 2**31 - 1)  # attributes hold 32 bits; larger bounds of a slice mean its end
        return array.ravel().tolist()
