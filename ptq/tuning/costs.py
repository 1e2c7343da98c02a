"""What is known so far of the time of layers and conversions, and the problem that this makes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..placement.units import NO_UNIT, Edge
from .choice import OUTSIDE, Joint, Problem
from .kernels import LayerTimes

__all__ = ["Costs"]

# Of a conversion of which none was seen: seconds for a kernel, and for each element.
KERNEL, ELEMENT = 2e-6, 2e-10


@dataclass
class Costs:
    """Times with one batch size.

    Attributes:
        layers: names, in order of execution.
        edges: the tensors between them.
        batch: takes the place of sizes that the graph leaves free.
        full: the profile of the model with all of them on integers; floats: of that with none.
    """

    layers: Sequence[str]
    edges: Sequence[Edge]
    batch: int
    full: LayerTimes
    floats: LayerTimes

    def __post_init__(self) -> None:
        self.int8 = {name: self.full.layers.get(name, 0.0) for name in self.layers}
        self.float = {name: self.floats.layers.get(name, 0.0) for name in self.layers}
        self.enter, self.leave = dict(self.full.enter), dict(self.full.leave)
        self._direct = {edge.site for edge in self.edges if edge.site not in self.full.enter}

    def learn(self, found: LayerTimes, left: Collection[str]) -> None:
        """Takes over what the profile of a model shows that has those layers in float.

        Of what is seen again the larger time counts: a choice that promised too much is not made twice.
        """
        for name in self.layers:
            _raise(self.float if name in left else self.int8, name, found.layers.get(name, 0.0))
        for edge in self.edges:
            is_integer = edge.producer not in (*left, NO_UNIT) and edge.site in self._direct
            readers = {name in left for name in edge.readers}
            if False in readers and not is_integer:
                _raise(self.enter, edge.site, found.enter.get(edge.site, 0.0))
            if True in readers and is_integer:
                _raise(self.leave, edge.site, found.leave.get(edge.site, 0.0))

    def problem(self) -> Problem:
        """Everything as shares of the float model's time."""
        number = {name: index for index, name in enumerate(self.layers)}
        whole = max(self.floats.total, 1e-12)
        enter, leave = (self._guesses(known) for known in (self.enter, self.leave))
        joints = [
            Joint(
                number.get(edge.producer, OUTSIDE),
                tuple(number[name] for name in edge.readers if name in number),
                edge.site in self._direct,
                enter[edge.site] / whole,
                leave[edge.site] / whole,
            )
            for edge in self.edges
        ]
        int8, floats = (np.array([known[name] for name in self.layers]) / whole for known in (self.int8, self.float))
        return Problem(int8, floats, joints)

    def _guesses(self, known: Mapping[str, float]) -> dict[str, float]:
        """A time for every tensor: its own, or by its size and what conversions of others take."""
        sizes = {edge.site: int(np.prod([self.batch if size < 0 else size for size in edge.shape], dtype=np.int64)) for edge in self.edges}
        seen = {site: seconds for site, seconds in known.items() if seconds > 0 and site in sizes}
        kernel = min(seen.values(), default=KERNEL)
        each = max(0.0, sum(seen.values()) - kernel * len(seen)) / sum(sizes[site] for site in seen) if seen else ELEMENT
        return {site: known.get(site, kernel + each * size) for site, size in sizes.items()}


def _raise(known: dict[str, float], key: str, seconds: float) -> None:
    known[key] = max(known.get(key, 0.0), seconds)
