"""What is measured: a float model and the quantized one, run so that every compute layer can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import paddle

from quantizers import QParams

__all__ = ["Call", "Facts", "Float", "See", "Subject", "answers_of", "as_array"]

Array = npt.NDArray[Any]
Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Facts:
    """What is known of one call of a layer without running it.

    ``weight``, ``rounded``: the float weight and the one that its integers stand for, of the same unit, ``None`` where there is none;
    ``axis``: of the weight's output channels; ``bits``: of its integers.  ``grid``: what the input is rounded to, after each channel
    (``channel_axis``) was multiplied by ``factors`` where there are any; ``rule``, ``weight_rule``: the classes of the quantizers.
    """

    op: str
    weight: Array | None = None
    rounded: Array | None = None
    axis: int = 0
    bits: int | None = None
    grid: QParams | None = None
    factors: Array | None = None
    channel_axis: int | None = None
    rule: str = ""
    weight_rule: str = ""


@dataclass
class Float:
    """One forward of the float model: its answers, and by place what each layer read and computed."""

    answers: list[Array] = field(default_factory=list)
    inputs: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)


See = Callable[[str, Array], None]


class Subject(Protocol):
    """A pair of models; ``places``: names of the compute layers' calls in order of execution, known after the first forward."""

    @property
    def facts(self) -> Mapping[str, Facts]:
        """What is known of each place."""

    def float_forward(self, call: Call) -> Float:
        """Runs the float model."""

    def int8_forward(self, call: Call, see: See) -> list[Array]:
        """Runs the quantized model; ``see`` gets each layer's result in the float model's units."""

    def alone_forward(self, call: Call, floats: Float, see_input: See, see: See) -> None:
        """Runs the quantized model so that every layer reads what the float model has there, on its grid.

        ``see_input`` gets what a layer multiplies, ``see`` what it computes, both in the float model's units.
        """


def as_array(value: Any, copy: bool = False) -> Array | None:
    """The floating-point tensor, or the first of several, as a float32 array; ``None`` for anything else.

    Without ``copy`` the array shares the tensor's memory where it can: what changes the tensor later changes the array.
    """
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    if not isinstance(value, paddle.Tensor) or not value.is_floating_point():
        return None
    if value.dtype not in (paddle.float32, paddle.float64):
        return np.asarray(value.astype("float32").numpy())
    if copy or not value.place.is_cpu_place() or not value.is_contiguous():
        return np.asarray(value.numpy())
    return np.from_dlpack(value.detach())


def answers_of(tensors: Sequence[Any]) -> list[Array]:
    """Tensors that a model returned as arrays; half precision as float32, which NumPy has."""
    return [tensor.astype("float32").numpy() if str(tensor.dtype).endswith("float16") else tensor.numpy() for tensor in tensors]
