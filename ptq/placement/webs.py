"""Webs: the tensors between layers with weights whose channels may have ratios, which the layers at their ends undo and take up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from paddle import nn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..graph.dataflow import CallSite, Graph
from .channel_links import CAPPED, FIXED, ChannelLinks

__all__ = ["Web", "before_activation", "capped_values", "channel_layers", "find_webs", "is_depthwise"]

Labels = npt.NDArray[np.int64]

CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)
TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)


@dataclass
class Web:
    """Tensors whose ratios are chosen together, since they share some, or share a grid or a reader.

    Attributes:
        axis: of the channels.
        labels: for each tensor, by its value in the graph, which ratio each of its channels has, ``[C]``; 0 for one that is fixed at 1.
        readers: the layers whose weights take the ratios up, with the value that each reads.
        producers: the layers whose weights undo them, with the value that each computes.
        entries: values whose ratios a multiplication in front of their grid undoes.
        caps: values that a ReLU6 computes of values of the web.
    """

    axis: int
    labels: dict[int, Labels] = field(default_factory=dict)
    readers: dict[str, int] = field(default_factory=dict)
    producers: dict[str, int] = field(default_factory=dict)
    entries: tuple[int, ...] = ()
    caps: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many ratios there are, the fixed one included."""
        return 1 + max(int(labels.max()) for labels in self.labels.values())


def channel_layers(layers: Mapping[str, nn.Layer]) -> tuple[list[str], list[str]]:
    """The names of the convolutions and of the Linears among layers whose weights can undo and take up ratios of channels."""
    plain = [name for name, layer in layers.items() if isinstance(layer, CONVOLUTIONS)]
    turned = [name for name, layer in layers.items() if isinstance(layer, TRANSPOSED) and layer._groups == 1]
    convolutions = [name for name in (*plain, *turned) if layers[name]._data_format.startswith("NC")]
    return convolutions, [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]


def is_depthwise(layer: nn.Layer) -> bool:
    """Whether a layer is a convolution that reads each channel by itself."""
    return isinstance(layer, CONVOLUTIONS) and layer._groups == layer._in_channels > 1


def capped_values(graph: Graph) -> set[int]:
    """All that a ReLU6 computes."""
    return {op.outputs[0] for op in graph.ops if op.plain_name == CAPPED}


def find_webs(
    graph: Graph,
    convolutions: Collection[str],
    linears: Collection[str],
    multiplied: Collection[int],
    fixed: Collection[int] = (),
    folded: Collection[str] = (),
    capped: Collection[int] = (),
) -> list[Web]:
    """The webs of one model that some layer reads.

    Args:
        graph: its dataflow.
        convolutions, linears: the layers whose weights can take ratios: on axis 1, and on the last one, which is the same for matrices.
        multiplied: values in front of whose grid a multiplication may stand.
        fixed: values whose ratios are 1 in any case.
        folded: the batch norms of the graph that are folded into other layers.
        capped: values that a ReLU6 computes, which ratios of at least 1 pass through.
    """
    found = []
    calls = {name: site for name in (*convolutions, *linears) if (site := _only_call(graph, name)) is not None}
    is_matrix = {name: graph.ranks[site.inputs[0]] == 2 for name, site in calls.items()}
    handed_on = {id(op) for name in folded for site in graph.sites_of(name) for op in graph.ops_of(site)}
    for axis in (1, -1):
        sites = {name: site for name, site in calls.items() if (name not in linears or is_matrix[name]) == (axis == 1)}
        inner = {id(op) for site in sites.values() for op in graph.ops_of(site)}
        results = {site.outputs[0] for site in sites.values()}
        entries = {value for value in multiplied if value not in results and value not in graph.inputs}
        links = ChannelLinks(graph, axis, inner, entries, handed_on, capped)
        links.fix(fixed)
        found += _webs(links, sites)
    return found


def before_activation(graph: Graph, value: int) -> int | None:
    """The tensor that an activation makes a value of, a learned number added to it or not; ``None`` where none does."""
    op = graph.producer(value)
    if op is not None and graph.added_number(op):
        op = next((made for read in op.inputs[:2] if (made := graph.producer(read)) is not None and made.facts.activation), None)
    return op.inputs[0] if op is not None and op.facts.activation else None


def _only_call(graph: Graph, name: str) -> CallSite | None:
    """The only call of a layer with parameters of its own."""
    sites = graph.sites_of(name)
    is_private = len(sites) == 1 and sites[0].inputs and sites[0].outputs and graph.has_private_parameters(name)
    return sites[0] if is_private else None


def _webs(links: ChannelLinks, sites: Mapping[str, CallSite]) -> list[Web]:
    labels = links.labels()
    of_value = {value: labels[nodes] for value in links.values if (nodes := links.nodes(value)) is not None and labels[nodes].any()}
    group = _groups(of_value, int(labels.max()) + 1)
    webs: dict[int, Web] = {}
    for value, own in of_value.items():
        webs.setdefault(int(group[own.max()]), Web(links.axis)).labels[value] = own
    for name, site in sites.items():
        for ends, value in (("readers", site.inputs[0]), ("producers", site.outputs[0])):
            if value in of_value:
                getattr(webs[int(group[of_value[value].max()])], ends)[name] = value
    for web in webs.values():
        web.entries = tuple(value for value in web.labels if value in links.sources)
        web.caps = tuple(value for value in web.labels if value in links.caps)
        used = np.unique(np.concatenate([[FIXED], *web.labels.values()]))
        web.labels = {value: np.searchsorted(used, own) for value, own in web.labels.items()}
    return [web for web in webs.values() if web.readers]


def _groups(of_value: Mapping[int, Labels], count: int) -> Labels:
    """The group of each label: those of one tensor are together; the fixed one joins none."""
    free = [own[own != FIXED] for own in of_value.values()]
    one, other = np.concatenate([own[:1].repeat(own.size) for own in free] or [[]]), np.concatenate(free or [[]])
    matrix = coo_array((np.ones(one.size, dtype=bool), (one.astype(np.int64), other.astype(np.int64))), shape=(count, count))
    return np.asarray(connected_components(matrix, directed=False)[1])
