"""A saved program as plain records: operations with named operands and attributes, values with shapes, constants with data.

Nothing here knows Paddle's program classes, so the passes of `ptq.programs` read and change ordinary Python objects.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Constant", "Dtype", "Operand", "Operation", "Port", "Recorded"]

# A value by its number, a list of values that the file combines, or nothing for an optional operand that is absent.
Operand: TypeAlias = "int | tuple[int, ...] | None"


class Dtype(str):
    """A data type in an attribute, by its name in `paddle`; a plain string would be mistaken for text."""


@dataclass(eq=False)
class Operation:
    """One operation.

    Attributes:
        name: the operator without dialect and without the mark of in-place variants: ``conv2d``.
        inputs: operands by the names of the operator's definition, in that order.
        attrs: attributes as Python values.
        outputs: results; ``None`` for one that is never computed.
        place: the path of the layer that computed it in the original model, empty where the file has none.
        index: its number in the file.
    """

    name: str
    inputs: dict[str, Operand]
    attrs: dict[str, Any]
    outputs: tuple[int | None, ...]
    place: str = ""
    index: int = 0

    @property
    def where(self) -> str:
        """How messages call the place."""
        return f"operation {self.index}" + (f" in {self.place}" if self.place else "")

    def reads(self) -> tuple[int, ...]:
        """All values that it reads, with repetitions."""
        found: list[int] = []
        for operand in self.inputs.values():
            if operand is not None:
                found += operand if isinstance(operand, tuple) else (operand,)
        return tuple(found)

    def operand(self, name: str) -> int:
        """The value of an operand that is one value."""
        value = self.inputs[name]
        if not isinstance(value, int):
            raise TypeError(f"{self.where}: operand {name} of {self.name} is {value!r}, not one value")
        return value


@dataclass
class Constant:
    """A value known before the program runs.

    Attributes:
        data: a `paddle.Tensor`.
        parameter: name of the parameter that it is, or whose elements it holds in another shape; empty for a computed constant.
        origin: name of the parameter that it was mainly computed from, for naming what it becomes part of.
        trainable: whether it is a parameter that training changes.
        literal: it is written in the program, such as a shape or a bound, not in the file of parameters.
    """

    data: Any
    parameter: str = ""
    trainable: bool = False
    literal: bool = False
    origin: str = ""

    def __post_init__(self) -> None:
        self.origin = self.origin or self.parameter


@dataclass(frozen=True)
class Port:
    """An input or output: name, sizes (-1 where free) and data type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass
class Parameter:
    """What the program says of a parameter: its value's number (-1 where nothing reads it), its name, sizes and data type.

    ``saved``: the file of parameters has it; ``trainable``: training changes it.
    """

    value: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    saved: bool
    trainable: bool


@dataclass
class Recorded:
    """A whole program.

    Attributes:
        inputs, outputs: numbers of values, with what the file says of them in ``input_ports`` and ``output_ports``.
        shapes, dtypes: of every value that is a tensor; a size that the file leaves free is -1.
        constants: values that are known.
        scalars: values that the program writes as one number, whatever their shape.
        removed_dropouts: places of dropouts that were taken out.
    """

    operations: list[Operation] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    input_ports: list[Port] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[int, str] = field(default_factory=dict)
    constants: dict[int, Constant] = field(default_factory=dict)
    size: int = 0
    scalars: set[int] = field(default_factory=set)
    removed_dropouts: list[str] = field(default_factory=list)

    def new_value(self) -> int:
        """The number of a value that the file does not have."""
        self.size += 1
        return self.size - 1

    def add_constant(self, constant: Constant) -> int:
        """A new value that is known."""
        value = self.new_value()
        self.constants[value] = constant
        self.shapes[value] = tuple(int(size) for size in constant.data.shape)
        self.dtypes[value] = str(constant.data.dtype).removeprefix("paddle.")
        return value

    def readers(self) -> dict[int, list[Operation]]:
        """Who reads each value; an operation that reads it twice is there twice."""
        found: dict[int, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            for value in operation.reads():
                found[value].append(operation)
        return found

    def replace(self, old: int, new: int) -> None:
        """All that read one value read another from now on."""
        for operation in self.operations:
            if old in operation.reads():
                operation.inputs = {
                    name: (
                        tuple(new if value == old else value for value in operand)
                        if isinstance(operand, tuple)
                        else (new if operand == old else operand)
                    )
                    for name, operand in operation.inputs.items()
                }
        self.outputs = [new if value == old else value for value in self.outputs]
