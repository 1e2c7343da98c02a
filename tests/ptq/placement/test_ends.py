"""Which layers are at a model's ends."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
import pytest
from models import Net
from paddle import nn
from paddle.static import InputSpec

from ptq.graph.tracing import trace
from ptq.placement.ends import end_layers


def layers() -> dict[str, nn.Layer]:
    return {name: nn.Conv2D(3, 3, 1) for name in "abcd"}


MODELS = {
    "chain": (lambda m, x: m.d(F.relu(m.c(F.relu(m.b(F.relu(m.a(x))))))), ["a", "d"]),
    "two readers": (lambda m, x: m.d(m.c(m.a(x * 2) + m.b(F.relu(x)))), ["a", "b", "d"]),
    "two outputs": (lambda m, x: (lambda y: (F.softmax(m.c(y)), m.d(y)))(m.b(m.a(x))), ["a", "c", "d"]),
    "through an addition": (lambda m, x: (lambda y: F.sigmoid(m.c(y) + m.b(y)))(m.a(x)), ["a", "c", "b"]),
    "one layer": (lambda m, x: m.a(x), ["a"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_readers_of_inputs_and_makers_of_outputs(name: str) -> None:
    compute, expected = MODELS[name]
    model: Any = Net(compute, **layers())
    assert end_layers(trace(model, [InputSpec([None, 3, 4, 4], "float32")]), list("abcd")) == expected


def test_a_product_with_a_tied_weight_ends_the_search() -> None:
    model = Net(
        lambda m, x: paddle.matmul(F.relu(m.second(m.first(m.table(x)))), m.table.weight, transpose_y=True),
        table=nn.Embedding(5, 4),
        first=nn.Linear(4, 4),
        second=nn.Linear(4, 4),
    )
    assert end_layers(trace(model, [InputSpec([None, 2], "int64")]), ["table", "first", "second"]) == ["table"]
