"""Operations belong to the last layer that reaches them; tensors between layers know who makes and reads them."""

from __future__ import annotations

from typing import Any

import paddle
from models import data
from paddle import nn

from ptq.graph.tracing import trace
from ptq.placement.plan import Plan, place_full
from ptq.placement.units import NO_UNIT, Edge, Units


class Gate(nn.Layer):
    """A convolution, whose result is scaled by what a second makes of its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Conv2D(3, 4, 1), nn.Conv2D(4, 4, 1), nn.Conv2D(4, 2, 1)

    def forward(self, x: Any) -> Any:
        x = nn.functional.relu(self.one(x * 2))
        return self.out(x * nn.functional.sigmoid(self.two(x.mean([2, 3], keepdim=True))))


def test_units_and_edges() -> None:
    net = Gate()
    net.eval()
    graph = trace(net, [data(2, 3, 4, 4)], {})
    compute = {"one": net.one, "two": net.two, "out": net.out}
    units = Units(graph, compute)
    assert sorted(units.order, key=units.order.__getitem__) == [NO_UNIT, "one", "two", "out"]
    owner = {site: units.of(value) for site, value in graph.operations.items()}
    found = {site.split("#")[0]: name for site, name in owner.items()}
    assert (found["relu"], found["mean"], found["sigmoid"]) == ("one", "one", "two")
    assert {units.of(site.outputs[0]) for site in graph.sites if site.layer == "two"} == {"two"}
    edges = {edge.site: edge for edge in units.edges(place_full(graph, compute), Plan(graph, compute))}
    relu = edges["relu#0"]
    assert isinstance(relu, Edge)
    assert (relu.producer, set(relu.readers), relu.is_returned, relu.shape) == ("one", {"one", "two"}, False, (2, 4, 4, 4))
    assert edges["out"].is_returned
    assert edges["out"].readers == ()


def test_all_units_are_everything() -> None:
    net = Gate()
    graph = trace(net, [paddle.zeros([1, 3, 4, 4])], {})
    units = Units(graph, ["one", "two", "out"])
    everything = {value for op in graph.ops for value in op.outputs}
    assert units.values_of(["one", "two", "out"]) == everything
    assert units.values_of(["two"]) < everything
    assert units.values_of([]) == set()
