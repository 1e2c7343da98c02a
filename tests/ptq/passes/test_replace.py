"""Putting one layer in the place of another, wherever a model refers to it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from models import Net
from paddle import nn

from ptq.passes.replace import replace_layers


def _model() -> tuple[nn.Layer, nn.Layer, nn.Layer]:
    old, new = nn.Linear(2, 2), nn.Linear(2, 2)
    return Net(lambda net, x: net.fc(x), fc=old), old, new


def test_attribute_alias_and_children() -> None:
    model, old, new = _model()
    model.alias = old
    model.block = nn.Sequential(nn.Sequential(old), nn.ReLU())
    assert replace_layers(model, {old: new}) is model
    assert model.fc is model.alias is model.block[0][0] is new
    assert all(layer is not old for layer in model.sublayers())


def test_containers_of_layers() -> None:
    model, old, new = _model()
    model.list = nn.LayerList([nn.ReLU(), old])
    model.table = nn.LayerDict({"a": old, "b": nn.ReLU()})
    model.sequence = nn.Sequential(("named", old))
    replace_layers(model, {old: new})
    assert model.list[1] is model.table["a"] is model.sequence.named is new


def test_plain_python_containers_in_place() -> None:
    model, old, new = _model()
    steps: list[Any] = [old, "text", [old, 3]]
    model.steps = steps
    model.table = {"a": old, "deep": {"b": (old, 1)}}
    model.ordered = OrderedDict(x=old)
    model.pair = (old, (old, None))
    replace_layers(model, {old: new})
    assert model.steps is steps
    assert steps == [new, "text", [new, 3]]
    assert model.table == {"a": new, "deep": {"b": (new, 1)}}
    assert model.ordered["x"] is new
    assert model.pair == (new, (new, None))


def test_references_of_the_replacement_itself() -> None:
    """A replacement may hold references to layers that are replaced too."""
    a, b, new_a, new_b = (nn.Linear(2, 2) for _ in range(4))
    model = Net(lambda net, x: net.b(net.a(x)), a=a, b=b)
    new_a.partners = [b]
    replace_layers(model, {a: new_a, b: new_b})
    assert new_a.partners[0] is new_b


def test_the_model_itself() -> None:
    old, new = nn.Linear(2, 2), nn.Linear(2, 2)
    assert replace_layers(old, {old: new}) is new


def test_what_is_not_replaced_stays_the_same_object() -> None:
    model, old, new = _model()
    model.numbers, model.pair, model.table = [1, 2], (1, 2), {"a": 1}
    before = {name: id(value) for name, value in vars(model).items()}
    replace_layers(model, {old: new})
    assert {name: id(value) for name, value in vars(model).items()} == before


def test_containers_that_hold_themselves() -> None:
    model, old, new = _model()
    loop: list[Any] = [old]
    loop.append(loop)
    table: dict[str, Any] = {"layer": old}
    table["self"] = table
    model.loop, model.table = loop, table
    model.knot = (table, [model])
    replace_layers(model, {old: new})
    assert loop[0] is table["layer"] is new


def test_a_child_that_knows_its_parent() -> None:
    model, old, new = _model()
    old.parents = [model]
    new.parents = [model]
    replace_layers(model, {old: new})
    assert model.fc is new
    assert new.parents[0] is model
