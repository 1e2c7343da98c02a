"""What each runtime needs: on which tensors it wants a grid, and what it computes on integers.  A new target is one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from paddle import nn

from ..graph.operators import names_of

__all__ = ["ANY", "PRODUCTS", "TARGETS", "Target"]

MERGED = frozenset({"relu", "relu6", "hardtanh", "clip"})
JOINS = names_of(lambda operator: operator.joins)
AVERAGES = names_of(lambda operator: operator.averages)
ARITHMETIC = names_of(lambda operator: operator.joins and operator.elementwise)
ELEMENTWISE = names_of(lambda operator: operator.elementwise)
PRODUCTS = frozenset({"matmul", "bmm"})


@dataclass(frozen=True)
class Target:
    """The needs of one runtime; operators by their plain names.

    Attributes:
        name: what a user calls it.
        convolutions: layers whose result must be on a grid to be computed in int8.
        floats: compute layers that it computes in float whatever their input, so that a grid there is of no use.
        operands: operators outside compute layers whose operands must be on grids.
        results: those of them whose result must be on one too.
        merged: activations that are merged with the operation before them, so that its grid lies after the activation.
        fused: operators that are computed in one with a convolution or product, or another of them, whose result they alone read: it
            needs no grid.
        kernels: operators besides compute layers that are computed on integers when their operands and their result are on grids.
        returns: whether what the model returns must be on a grid.
        on_integers: activations that can be made of kernels for integers, see `convert.integer_activations`.
        factor_worth: dB of predicted error that a multiplication of each channel in front of a grid must gain to be worth its time.
        dense_worth: the same where no depthwise convolution reads the grid, so that weights take up the ratios and are rounded anew.
        max_bits: the widest grid that kernels compute with.
    """

    name: str
    convolutions: tuple[type[nn.Layer], ...]
    operands: frozenset[str]
    results: frozenset[str]
    merged: frozenset[str]
    kernels: frozenset[str]
    floats: tuple[type[nn.Layer], ...] = ()
    fused: frozenset[str] = frozenset()
    returns: bool = True
    on_integers: frozenset[str] = frozenset()
    factor_worth: float = 1.0
    dense_worth: float = 3.0
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

# Its int8 convolution has no float result, so ANY is nearly what it needs; a Linear's result, also the model's, may be float.
ONNXRUNTIME = replace(
    ANY,
    name="onnxruntime",
    floats=(nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose),
    operands=ANY.operands - {"subtract"},
    results=ANY.results - {"subtract"},
    kernels=(ANY.kernels - {"subtract"}) | {"hardswish"},
    returns=False,
    on_integers=frozenset({"hardswish"}),
    factor_worth=6.0,  # a bit: for it the activation stays in float
)

# Convolutions and products of integers have float results here, and all that is elementwise is computed in one with what comes before it:
# a grid pays only where a tensor goes through memory, to a kernel that reads integers.  It moves the grid of a concatenation to the
# operands by itself.
OPENVINO = Target(
    name="openvino",
    convolutions=(),
    operands=ARITHMETIC | AVERAGES,
    results=frozenset(),
    merged=frozenset(),
    kernels=ANY.kernels,
    fused=ELEMENTWISE,
    returns=False,
    factor_worth=0.0,
    dense_worth=0.0,  # they become the scales of a grid per channel, which it has
)

# The engine that Paddle Inference runs int8 with is OpenVINO's.
PADDLE_INFERENCE = replace(OPENVINO, name="paddle_inference")

TARGETS: Mapping[str, Target] = {target.name: target for target in (ANY, ONNXRUNTIME, OPENVINO, PADDLE_INFERENCE)}
