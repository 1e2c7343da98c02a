"""What each runtime needs: on which tensors it wants a grid, and what it computes on integers.  A new target is one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paddle import nn

from ..graph.operators import names_of

__all__ = ["ANY", "TARGETS", "Target"]

MERGED = frozenset({"relu", "relu6", "hardtanh", "clip"})
JOINS = names_of(lambda operator: operator.joins)
AVERAGES = names_of(lambda operator: operator.averages)
PRODUCTS = frozenset({"matmul", "bmm"})


@dataclass(frozen=True)
class Target:
    """The needs of one runtime; operators by their plain names.

    Attributes:
        name: what a user calls it.
        convolutions: layers whose result must be on a grid to be computed in int8.
        operands: operators outside compute layers whose operands must be on grids.
        results: those of them whose result must be on one too.
        merged: activations that are merged with the operation before them, so that its grid lies after the activation.
        kernels: operators besides compute layers that are computed on integers when their operands and their result are on grids.
        max_bits: the widest grid that kernels compute with.
    """

    name: str
    convolutions: tuple[type[nn.Layer], ...]
    operands: frozenset[str]
    results: frozenset[str]
    merged: frozenset[str]
    kernels: frozenset[str]
    max_bits: int = 8


# What every supported runtime can use together.
ANY = Target(
    name="any",
    # for ONNX Runtime; for transposed ones it has no int8 kernel, and others need none
    convolutions=(nn.Conv1D, nn.Conv2D, nn.Conv3D),
    operands=JOINS | AVERAGES | PRODUCTS,
    results=JOINS | AVERAGES,
    merged=MERGED,
    kernels=JOINS | AVERAGES | MERGED | {"sigmoid", "leaky_relu"},
)

TARGETS: Mapping[str, Target] = {target.name: target for target in (ANY,)}
