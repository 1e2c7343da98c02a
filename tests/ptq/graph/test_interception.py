"""Every layer call and functional operation is seen, under the same name in eager mode and while Paddle traces, and nowhere else."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from models import Net, data
from paddle import _C_ops, nn
from paddle.static import InputSpec

from ptq.graph.interception import intercept
from ptq.graph.tracing import trace


class Names:
    """Notes the names of sites and changes nothing."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def operation(self, site: str, output: Any, _args: Any) -> Any:
        self.found.append(site)
        return output

    def enter(self, _site: str, _layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        return args, kwargs

    def layer(self, site: str, _name: str, output: Any, _args: Any) -> Any:
        self.found.append(site)
        return output


class Block(nn.Layer):
    """Operators, functions and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return F.relu(self.fc(x)) * 0.5 + x


def _attention(model: nn.Layer, x: Any) -> Any:
    weights = F.softmax(paddle.matmul(x, x, transpose_y=True) / 2.0)
    return weights @ model.fc(x)


MODELS = {
    "operators": (Net(lambda m, x: (x + m.fc(x)) * x - x, fc=nn.Linear(4, 4)), ["fc", "add#0", "multiply#0", "subtract#0"]),
    "numbers": (Net(lambda m, x: (2 * m.fc(x) + 1) / 3, fc=nn.Linear(4, 4)), ["fc", "scale#0", "scale#1", "scale#2"]),
    "functions": (
        Net(lambda m, x: paddle.concat([F.gelu(m.fc(x)), paddle.multiply(x, x)], axis=-1), fc=nn.Linear(4, 4)),
        ["fc", "gelu#0", "multiply#0", "concat#0"],
    ),
    "called twice": (
        Net(lambda m, x: m.block(m.block(x)), block=Block()),
        [
            f"block{call}.{name}" if "#" in name else f"block.{name}{call}"
            for call in ("", "@1")
            for name in ("fc", "relu#0", "scale#0", "add#0")
        ],
    ),
    "attention": (Net(_attention, fc=nn.Linear(4, 4)), ["matmul#0", "scale#0", "softmax#0", "fc", "matmul#1"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_names_are_the_same_in_eager_mode_and_while_tracing(name: str) -> None:
    model, expected = MODELS[name]
    model.eval()
    eager = Names()
    with intercept(model, eager):
        model(data(2, 3, 4))
    graph = trace(model, [InputSpec([None, 3, 4], "float32")])
    traced = [*(site.name for site in graph.sites), *graph.operations]
    assert eager.found == expected
    assert sorted(site for site in traced if site) == sorted(expected)


def test_the_watcher_changes_what_the_model_goes_on_with() -> None:
    class Zero(Names):
        def operation(self, site: str, output: Any, _args: Any) -> Any:
            return paddle.zeros_like(output) if site == "relu#0" else output

    model = Net(lambda _, x: F.relu(x) + 1.0)
    with intercept(model, Zero()):
        assert float(model(data(2, 3)).max()) == 1.0


def _entry_points() -> list[Any]:
    return [_C_ops.relu, _C_ops.add, paddle.multiply, vars(paddle.Tensor)["__add__"], vars(paddle.pir.Value)["__add__"], nn.Layer.__call__]


def test_nothing_is_left_behind_after_a_forward_or_an_error() -> None:
    before = _entry_points()
    model = Net(lambda _, x: F.relu(x))
    with intercept(model, Names()):
        assert _C_ops.relu is not before[0]  # or this test could not fail
    with pytest.raises(RuntimeError, match="the model's own"), intercept(model, Names()):
        raise RuntimeError("the model's own")
    assert all(now is then for now, then in zip(_entry_points(), before, strict=True))
    names = Names()
    with intercept(model, names):
        pass
    model(data(2))
    assert names.found == []


def test_an_error_inside_a_layer_leaves_the_scope() -> None:
    def forgiving(model: nn.Layer, x: Any) -> Any:
        with contextlib.suppress(ZeroDivisionError):
            model.broken(x)
        return F.relu(x)

    model = Net(forgiving, broken=Net(lambda *_: 1 / 0))
    names = Names()
    with intercept(model, names):
        model(data(2))
    assert names.found == ["relu#0"]


def test_two_threads_see_their_own_models() -> None:
    models = {"a": Net(lambda _, x: F.relu(x) + x), "b": Net(lambda _, x: F.gelu(x) * x)}
    found = {name: Names() for name in models}
    barrier = threading.Barrier(3, timeout=60)
    before = _entry_points()

    finished: list[str] = []

    def run(name: str) -> None:
        for _ in range(50):
            with intercept(models[name], found[name]):
                barrier.wait()
                models[name](data(2))
        finished.append(name)

    threads = [threading.Thread(target=run, args=(name,)) for name in models]
    for thread in threads:
        thread.start()
    for _ in range(50):
        barrier.wait()
        F.relu(data(3))  # of no model, while both are intercepted
    for thread in threads:
        thread.join(60)
    assert sorted(finished) == ["a", "b"], "a thread crashed or hangs"
    assert found["a"].found == ["relu#0", "add#0"] * 50
    assert found["b"].found == ["gelu#0", "multiply#0"] * 50
    assert all(now is then for now, then in zip(_entry_points(), before, strict=True))
