"""From the ONNX graph of a simulated model to one that runtimes execute in int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .blocks import write_block_products
from .clean import clean
from .dynamic import write_dynamic_layers
from .graph import EditableGraph
from .grids import drop_saturating_activations, lower_grids, merge_grids, recognise_grids
from .labels import use_labels
from .linear import fuse_linear
from .pools import use_global_pools
from .sums import keep_sums_apart
from .weights import attach_biases, lower_biases, name_layers, recognise_weights

__all__ = ["rewrite"]


def rewrite(model: Any, names: Mapping[str, str]) -> Any:
    """The model with QuantizeLinear and DequantizeLinear in the place of simulated quantization.

    It computes the same up to the rounding of float sums; float biases of int8 layers are rounded to steps of their int32 grid.

    Args:
        model: what the conversion from Paddle gave; not changed.
        names: better names for its parameters, such as their paths in the Paddle model.
    """
    graph = EditableGraph(model, names)
    read_quantization(graph)
    write_quantization(graph)
    return graph.to_model()


def read_quantization(graph: EditableGraph) -> None:
    """Finds grids and integer weights in the plain operations that simulate them, and brings layers into the form of int8 kernels."""
    clean(graph)
    recognise_grids(graph)
    recognise_weights(graph)
    merge_grids(graph)
    drop_saturating_activations(graph)
    attach_biases(graph)
    name_layers(graph)
    write_dynamic_layers(graph)
    write_block_products(graph)
    fuse_linear(graph)
    use_global_pools(graph)


def write_quantization(graph: EditableGraph) -> None:
    """Writes grids and biases as integers."""
    use_labels(graph)
    lower_biases(graph)
    lower_grids(graph)
    keep_sums_apart(graph)
    graph.prune()
