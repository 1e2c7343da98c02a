"""Which tensors' channels are scaled alike: by hand on small nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from models import Net, data
from paddle import nn

from ptq.graph.dataflow import Graph
from ptq.graph.tracing import trace
from ptq.placement.webs import Web, channel_layers, find_webs
from ptq.util.tracer import TRACER


def traced(net: nn.Layer, *shape: int) -> Graph:
    net.eval()
    with TRACER:
        return trace(net, (data(*shape),), {})


def webs(net: nn.Layer, *shape: int, multiplied: bool = False) -> list[Web]:
    graph = traced(net, *shape)
    values = {site.inputs[0] for site in graph.sites if site.layer == "b"} if multiplied else set()
    return find_webs(graph, *channel_layers(dict(net.named_sublayers())), values)


def net_of(forward: Callable[..., Any], **layers: nn.Layer) -> Net:
    return Net(forward, a=nn.Conv2D(3, 4, 1), b=nn.Conv2D(4, 4, 3, padding=1), c=nn.Conv2D(4, 2, 1), **layers)


def ends(found: list[Web]) -> list[tuple[set[str], set[str]]]:
    return sorted((set(web.producers), set(web.readers)) for web in found)


@pytest.mark.parametrize("between", [F.relu, lambda x: F.max_pool2d(x, 2), lambda x: F.interpolate(F.relu(x), scale_factor=2), abs])
def test_what_is_homogeneous_hands_ratios_on(between: Any) -> None:
    found = webs(net_of(lambda n, x: n.c(between(n.b(between(n.a(x)))))), 1, 3, 8, 8)
    assert ends(found) == [({"a"}, {"b"}), ({"b"}, {"c"})]
    assert all(web.count == 5 and not web.entries for web in found)


@pytest.mark.parametrize("between", [F.hardswish, F.sigmoid, lambda x: x + 1.0, lambda x: x * x])
def test_what_is_not_ends_them_unless_a_multiplication_may_stand_behind_it(between: Any) -> None:
    net = net_of(lambda n, x: n.c(F.relu(n.b(between(n.a(x))))))
    assert ends(webs(net, 1, 3, 8, 8)) == [({"b"}, {"c"})]
    found = webs(net, 1, 3, 8, 8, multiplied=True)
    assert ends(found) == [(set(), {"b"}), ({"b"}, {"c"})]
    assert sorted(len(web.entries) for web in found) == [0, 1]


def test_an_addition_needs_one_ratio_for_both() -> None:
    def forward(n: Any, x: Any) -> Any:
        y = F.relu(n.a(x))
        return n.c(y + n.b(y))

    (web,) = webs(net_of(forward), 1, 3, 8, 8)
    assert (set(web.producers), set(web.readers), web.count) == ({"a", "b"}, {"b", "c"}, 5)


def test_concatenated_channels_keep_ratios_of_their_own() -> None:
    def forward(n: Any, x: Any) -> Any:
        y = F.relu(n.a(x))
        return n.d(paddle.concat([y, F.relu(n.b(y))], axis=1))

    (web,) = webs(net_of(forward, d=nn.Conv2D(8, 2, 1)), 1, 3, 8, 8)
    assert web.count == 9
    np.testing.assert_array_equal(
        web.labels[web.readers["d"]], np.concatenate([web.labels[web.readers["b"]], web.labels[web.producers["b"]]])
    )


def test_a_gate_stays_and_what_it_multiplies_keeps_its_ratios() -> None:
    def forward(n: Any, x: Any) -> Any:
        y = F.relu(n.a(x))
        return n.c(y * F.sigmoid(n.b(F.adaptive_avg_pool2d(y, 1))))

    (web,) = webs(net_of(forward), 1, 3, 8, 8)
    assert (set(web.producers), set(web.readers)) == ({"a"}, {"b", "c"})


def test_inputs_answers_and_layers_called_twice_are_fixed() -> None:
    assert webs(net_of(lambda n, x: (n.a(x), n.b(F.relu(n.a(x))))), 1, 3, 8, 8) == []
    found = webs(net_of(lambda n, x: n.c(F.relu(n.b(F.relu(n.b(F.relu(n.a(x)))))))), 1, 3, 8, 8)
    assert found == [], "b is called twice and its result is read by itself"


def test_linears_on_rows_take_the_last_axis() -> None:
    net = Net(lambda n, x: n.second(F.relu(n.first(x))), first=nn.Linear(6, 5), second=nn.Linear(5, 2))
    for shape, axis in (((4, 6), 1), ((4, 3, 6), -1)):
        (web,) = webs(net, *shape)
        assert (web.axis, set(web.producers), set(web.readers), web.count) == (axis, {"first"}, {"second"}, 6)
