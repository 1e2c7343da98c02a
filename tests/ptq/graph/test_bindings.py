"""Functions are found wherever a model's own code holds them, and every place gets back what it held."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import paddle
import pytest
from models import Net, calibrated, data
from paddle import nn
from paddle.linalg import matmul

from ptq import PTQConfig
from ptq.graph.interception import intercept
from ptq.layers.gridded import grids_of
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import QuantizationWarning

SOURCE = "from paddle.tensor import matmul\ndef compute(model, x):\n    return matmul(x, x)\n"


class Names:
    """Notes the operations."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def operation(self, site: str, output: Any, _args: Any) -> Any:
        self.found.append(site)
        return output

    def enter(self, _site: str, _layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        return args, kwargs

    def layer(self, _site: str, _name: str, output: Any, _args: Any) -> Any:
        return output


class OfClass(nn.Layer):
    """Holds the function as an attribute of its class."""

    product = matmul
    static = staticmethod(matmul)

    def forward(self, x: Any) -> Any:
        return self.product(x, x)


def _closure() -> Callable[..., Any]:
    product = matmul
    return lambda _, x: product(x, x)


def _default(_: Any, x: Any, product: Any = matmul) -> Any:
    return product(x, x)


def _keyword_default(_: Any, x: Any, *, product: Any = matmul) -> Any:
    return product(x, x)


def _executed() -> Callable[..., Any]:
    names: dict[str, Any] = {"__name__": "of no module"}
    exec(SOURCE, names)
    found: Callable[..., Any] = names["compute"]
    return found


def _attribute() -> nn.Layer:
    model = Net(lambda m, x: m.product(x, x))
    model.product = matmul
    return model


def _listed() -> nn.Layer:
    model = Net(lambda m, x: m.steps[0]["product"][0](x, x))
    model.steps = [{"product": [matmul]}]
    return model


HOLDERS: dict[str, Callable[[], nn.Layer]] = {
    "attribute": _attribute,
    "list in a dict in a list": _listed,
    "class": OfClass,
    "closure": lambda: Net(_closure()),
    "closure of a partial": lambda: Net(functools.partial(_closure())),
    "default": lambda: Net(_default),
    "keyword default": lambda: Net(_keyword_default),
    "globals of no module": lambda: Net(_executed()),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_what_the_models_own_code_holds_is_seen(name: str) -> None:
    model = HOLDERS[name]()
    for _ in range(2):
        names = Names()
        with intercept(model, names):
            model(data(2, 4, 4))
        assert names.found == ["matmul#0"]
    names = Names()
    model(data(2, 4, 4))
    assert names.found == []


def test_every_place_gets_back_what_it_held() -> None:
    model, of_class = _listed(), OfClass()
    before = vars(OfClass)["product"]
    with intercept(model, Names()), intercept(of_class, Names()):
        assert model.steps[0]["product"][0] is not matmul or vars(OfClass)["product"] is not before
    assert model.steps[0]["product"][0] is before
    assert vars(OfClass)["product"] is before


def test_a_place_that_was_given_something_else_is_left_alone() -> None:
    model = _attribute()
    with intercept(model, Names()):
        pass
    model.product = paddle.add
    with intercept(model, Names()):
        assert model.product is paddle.add
    assert model.product is paddle.add


def test_modules_that_are_imported_or_written_later_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with intercept(nn.Linear(2, 2), Names()):
        pass
    module = ModuleType("written_later")
    monkeypatch.setitem(sys.modules, "written_later", module)
    with intercept(nn.Linear(2, 2), Names()):
        pass
    exec(SOURCE, vars(module))
    model, names = Net(module.compute), Names()
    with intercept(model, names):
        model(data(2, 4, 4))
    assert names.found == ["matmul#0"]


def test_what_cannot_be_followed_is_told_by_name() -> None:
    bound = functools.partial(matmul)

    def partly(m: Any, x: Any) -> Any:
        return m.last(bound(m.first(x), x))

    def followed(m: Any, x: Any) -> Any:
        return m.last(matmul(m.first(x), x))

    config = PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(), placement="full")
    told = {}
    for compute in (partly, followed):
        model = Net(compute, first=nn.Linear(4, 4), last=nn.Linear(4, 4))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sites = grids_of(calibrated(model, data(2, 4, 4), config=config))
        texts = [str(item.message) for item in caught if issubclass(item.category, QuantizationWarning)]
        told[compute.__name__] = "matmul#0" in sites, any("matmul" in text for text in texts)
    assert told == {"partly": (False, True), "followed": (True, False)}
