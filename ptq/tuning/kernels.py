"""What a runtime's kernels cost each layer: a profile of a file, attributed to the layers and to the tensors that are converted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..placement.units import NO_UNIT
from ..runtimes.profile import NodeTime
from ..util.extras import import_extra

__all__ = ["Attribution", "LayerTimes"]

QUANTIZE, DEQUANTIZE = ":quantize", ":dequantize"


@dataclass
class LayerTimes:
    """Seconds of one inference.

    Attributes:
        layers: of each layer with what follows it, by name; what precedes all has the empty name.
        enter: of making a tensor integers by a kernel of its own, by the tensor's site; leave: of making it float again.
    """

    layers: dict[str, float] = field(default_factory=dict)
    enter: dict[str, float] = field(default_factory=dict)
    leave: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Of everything."""
        return sum(sum(part.values()) for part in (self.layers, self.enter, self.leave))

    def scaled(self, factor: float) -> LayerTimes:
        """The same times by a clock that runs at another pace."""
        parts = ({key: seconds * factor for key, seconds in part.items()} for part in (self.layers, self.enter, self.leave))
        return LayerTimes(*parts)


class Attribution:
    """Which layer, or which tensor's conversion, each operation of an ONNX file belongs to.

    Args:
        file: written from a model with that graph; its operations are called after layers and sites.
        order: the layers by name with their place in the order of execution, `NO_UNIT` before all.
        sites: of the tensors between layers.
        leaving: those of them that are made float for a layer: that is a conversion of its own.
    """

    def __init__(self, file: Path, order: Mapping[str, int], sites: Collection[str], leaving: Collection[str] = ()) -> None:
        self._order = order
        self._layer: dict[str, str] = {}
        self._enter: dict[str, str] = {}
        self._leave: dict[str, str] = {}
        values: dict[str, str] = {}
        for node in import_extra("onnx", "onnx").load(str(file), load_external_data=False).graph.node:
            name = self._own(node.name, (values.get(value, NO_UNIT) for value in node.input))
            values.update(dict.fromkeys(node.output, name))
            self._add(node, name, sites, leaving)

    def _own(self, node: str, sources: Iterable[str]) -> str:
        layer = node.split("@")[0]
        return layer if layer and layer in self._order else max(sources, key=self._order.__getitem__, default=NO_UNIT)

    def _add(self, node: Any, layer: str, sites: Collection[str], leaving: Collection[str]) -> None:
        names = [name for name in (node.name, *node.output) if name]
        self._layer.update(dict.fromkeys(names, layer))
        if node.name.endswith(QUANTIZE) and node.name.removesuffix(QUANTIZE) in sites:
            self._enter.update(dict.fromkeys(names, node.name.removesuffix(QUANTIZE)))
        if node.name.endswith(DEQUANTIZE) and node.name.removesuffix(DEQUANTIZE) in leaving:
            self._leave.update(dict.fromkeys(names, node.name.removesuffix(DEQUANTIZE)))

    def times(self, kernels: Sequence[NodeTime]) -> LayerTimes:
        """The kernels' times added up; a kernel without a known name belongs to what ran before it."""
        found, layer = LayerTimes(), NO_UNIT
        for kernel in kernels:
            nodes = [node for name in kernel.names if (node := self._node(name)) is not None]
            others = [node for node in nodes if node not in self._enter and node not in self._leave]
            if nodes and not others:
                entered = [self._enter[node] for node in nodes if node in self._enter]
                part, key = (found.enter, entered[-1]) if entered else (found.leave, self._leave[nodes[-1]])
            else:
                layer = max((self._layer[node] for node in others), key=self._order.__getitem__, default=layer)
                part, key = found.layers, layer
            part[key] = part.get(key, 0.0) + kernel.seconds
        return found

    def _node(self, name: str) -> str | None:
        """The operation or value that a kernel is called after: runtimes append to the names of what they merge or move."""
        while name and name not in self._layer:
            name = name[: max(name.rfind("_"), name.rfind("/"), 0)]
        return name or None
