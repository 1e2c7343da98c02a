"""Where a grid per channel is of use: on what a depthwise convolution reads, since its weights can take up the ratios of the scales.

A tensor qualifies when the convolution is all that reads it.  The ratios are undone before the tensor is rounded: in the weights of the
layer that computes it, where nothing or a ReLU lies between, for ``relu(x / r) == relu(x) / r``; else by a multiplication.  Where another
activation lies between and the layer's result needs a grid as well, that one too gets its ratios, from that layer's own weights, and a
multiplication before the activation takes them back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..graph.dataflow import CallSite, Graph
from ..graph.operators import operator_of, plain_name

__all__ = ["CHANNEL_AXIS", "ChannelPlace", "place_channels"]

CHANNEL_AXIS = 1


@dataclass(frozen=True)
class ChannelPlace:
    """One tensor that may have a grid per channel.

    Attributes:
        reader: the depthwise convolution whose weights take up the ratios; for the result of a layer, whose errors reach it.
        producer: the layer whose weights undo the ratios; empty when a multiplication does.
        is_result: it is the result of ``producer``, and a multiplication takes the ratios back behind its grid.
        value: of the graph.
    """

    reader: str
    producer: str
    is_result: bool
    value: int


def place_channels(graph: Graph, depthwise: Collection[str], compute: Collection[str]) -> list[ChannelPlace]:
    """The tensors of one model, in the order of their readers.

    Args:
        graph: its dataflow, batch norms folded.
        depthwise: names of the depthwise convolutions that will be quantized.
        compute: names of all layers that will be.
    """
    found = []
    results: Mapping[int, CallSite] = {site.outputs[0]: site for site in graph.sites if site.outputs and site.layer in compute}
    for name in depthwise:
        sites = graph.sites_of(name)
        if len(sites) != 1 or not sites[0].inputs or not graph.has_private_parameters(name):
            continue
        value = sites[0].inputs[0]
        if len(graph.consumers(value)) != 1 or value in graph.outputs or value in graph.inputs:
            continue
        op = graph.producer(value)
        activation = op if op is not None and value not in results and operator_of(op.name).activation else None
        source = value if activation is None else activation.inputs[0]
        producer = _private(graph, results.get(source), source)
        is_foldable = activation is None or plain_name(activation.name) == "relu"
        found.append(ChannelPlace(name, producer if is_foldable else "", False, value))
        if producer and not is_foldable:
            found.append(ChannelPlace(name, producer, True, source))
    return found


def _private(graph: Graph, site: CallSite | None, value: int) -> str:
    """The layer that computes a value for one reader, in its only call, from parameters of its own; else empty."""
    if site is None or value in graph.outputs or len(graph.consumers(value)) != 1 or len(graph.sites_of(site.layer)) != 1:
        return ""
    return site.layer if graph.has_private_parameters(site.layer) else ""
