"""The keys of overrides: what they match, which entry counts, and that a key which matches nothing is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import Net, calibrated, data, small_net
from override_cases import config, deep_net, quantized, twins
from paddle import nn
from paddle.static import InputSpec

from ptq import ImperativePTQ, QuantOverride
from ptq.config.keys import Changes, ModelKeys
from quantizers.errors import ConfigError

few = settings(deadline=None, max_examples=60)


LEAVES = ("stage0.0", "stage1.0", "head.0", "head.1", "stage0.1", "stage1.1")


def matched(key: Any, model: nn.Layer | None = None) -> set[str]:
    """The leaf layers that a key leaves float."""
    model = deep_net() if model is None else model
    keys = ModelKeys(model, {key: None})
    return {name for name, layer in model.named_sublayers() if not layer._sub_layers and keys.changes_of(layer) is None}


# what a key matches


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("stage0.0", {"stage0.0"}),
        ("head", {"head.0", "head.1"}),  # an exact name speaks of all within
        ("", set(LEAVES)),
        ("*", set(LEAVES)),
        ("head.*", {"head.0", "head.1"}),
        ("*0", {"stage0.0", "stage1.0", "head.0"}),  # the star crosses dots
        ("stage?.0", {"stage0.0", "stage1.0"}),
        ("stage[!0].*", {"stage1.0", "stage1.1"}),
        ("stage?", set()),  # a pattern speaks only of the names that it matches
        ("HEAD.*", set()),
        ("hea", set()),
        (r"re:stage[01]\..*0", {"stage0.0", "stage1.0"}),
        ("re:0", {"stage0.0", "stage0.1", "stage1.0", "head.0"}),  # found anywhere
        ("re:^0", set()),
        (r"re:^(?!.*\.0)", {"stage0.1", "stage1.1", "head.1"}),  # all but
        (nn.Conv2D, {"stage0.0", "stage1.0"}),
        (nn.Sequential, set(LEAVES)),
        (nn.Layer, set(LEAVES)),
        (nn.Conv3D, set()),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),
)
def test_keys(key: Any, expected: set[str]) -> None:
    assert matched(key) == expected


def test_subclasses_count() -> None:
    class Own(nn.Linear):
        pass

    model = nn.Sequential(Own(2, 2), nn.Linear(2, 2))
    assert matched(nn.Linear, model) == {"0", "1"}
    assert matched(Own, model) == {"0"}


def test_every_name_of_a_layer_serves() -> None:
    shared = nn.Linear(3, 3)
    model = Net(lambda m, x: m.b(m.a(x)), a=shared, b=nn.Sequential(shared, nn.ReLU()))
    assert matched("a", model) == matched("b.0", model) == {"a"}
    assert matched("b", model) == {"a", "b.1"}


def test_a_model_that_holds_itself_is_walked_once() -> None:
    model = Net(lambda m, x: m.a(x), a=nn.Linear(3, 3))
    model.a.add_sublayer("parent", model)
    assert ModelKeys(model, {"a": None}).changes_of(model.a) is None


NAME_PARTS = st.text("stage01hd.*?[]!", min_size=1, max_size=9)


def _glob(pattern: str) -> str:
    """A glob as a regular expression, character by character, written down apart from fnmatch."""
    found, position = "", 0
    while position < len(pattern):
        char = pattern[position]
        end = pattern.find("]", position + 2 + pattern[position + 1 :].startswith("!"))
        if char == "[" and end > 0:
            negated = pattern[position + 1] == "!"
            allowed = pattern[position + 1 + negated : end]
            found += f"[{'^' if negated else ''}{re.escape(allowed)}]"
            position = end
        else:
            found += {"*": ".*", "?": "."}.get(char, re.escape(char))
        position += 1
    return found


@few
@given(NAME_PARTS)
def test_globs_and_exact_names_by_their_definition(key: str) -> None:
    expected = {
        name for name in LEAVES if name == key or name.startswith(f"{key}.") or re.fullmatch(_glob(key), name, re.DOTALL) is not None
    }
    assert matched(key, MODEL) == expected


@few
@given(st.sampled_from(LEAVES), st.integers(0, 8), st.integers(0, 8))
def test_a_piece_of_a_name_is_found_as_regex_and_between_stars(name: str, start: int, end: int) -> None:
    piece = name[min(start, end) : max(start, end)]
    expected = {other for other in LEAVES if piece in other}
    assert matched(f"re:{re.escape(piece)}", MODEL) == matched(f"*{piece}*", MODEL) == expected


# which entry counts

MODEL = deep_net()
KEYS = [*LEAVES, "head", "", "*", "stage?.0", "head.*", "re:1$", nn.Conv2D, nn.Linear, nn.Layer]
VALUES = st.one_of(st.none(), st.builds(QuantOverride, st.none() | st.integers(2, 16), st.none() | st.integers(2, 16)))


@few
@given(st.permutations(KEYS).flatmap(lambda keys: st.tuples(st.just(keys), st.lists(VALUES, max_size=6))))
def test_entries_are_applied_in_their_order(drawn: tuple[list[Any], list[QuantOverride | None]]) -> None:
    """Against a fold over one-key answers: the last entry that matches says whether; each given width comes from the last that gives it."""
    overrides = dict(zip(*drawn, strict=False))
    keys = ModelKeys(MODEL, overrides)
    for name in LEAVES:
        layer = dict(MODEL.named_sublayers())[name]
        said = [value for key, value in overrides.items() if name in matched(key, MODEL)]
        since = said[max((index + 1 for index, value in enumerate(said) if value is None), default=0) :]
        changes: Changes | None = keys.changes_of(layer)
        assert changes == (None if said and said[-1] is None else since)
        own = config({}).scheme(changes or [])
        assert own.weight is not None
        assert own.weight.num_bits == next((value.weight_bits for value in reversed(since) if value and value.weight_bits), 8)


@few
@given(st.lists(VALUES, max_size=5))
def test_changing_a_config_leaves_it_as_it_was(values: list[QuantOverride | None]) -> None:
    base = config({"head": None})
    own = base.scheme(value for value in values if value is not None)
    assert base == config({"head": None})
    assert own.input is not None
    assert own.output is not None
    assert own.input.rule is not base.in_act_quantizer
    assert own.input.num_bits == own.output.num_bits


def test_all_but() -> None:
    assert twins(quantized({"*": None, "conv2": QuantOverride(), nn.Linear: QuantOverride()})) == {"conv2", "fc"}
    assert twins(quantized({"conv2": QuantOverride(), "*conv?": None})) == {"fc"}


# keys that match nothing


@pytest.mark.parametrize("placement", ["compute", "full"])
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("covn2", "'covn2' matches no layer.*did you mean 'conv2'"),
        ("fcc.*", "did you mean 'fc'"),
        ("zzzzzz", "the model has 'conv1', 'bn1'"),
        ("re:covn2", "did you mean 'conv2'"),
        (nn.Conv3D, "Conv3D matches no layer that can be quantized; the model has .*Conv2D, Linear"),
        ("relu#7", "'relu#7' matches no layer"),
        ("FC", "'FC' matches no layer"),
    ],
    ids=str,
)
def test_a_key_that_matches_nothing(key: Any, message: str, placement: str) -> None:
    overrides = {"fc": QuantOverride(weight_bits=4), key: None}
    with pytest.raises(ConfigError, match=f"(?s)overrides: .*{message}"):
        ImperativePTQ(config(overrides, placement)).quantize(small_net(), input_spec=[InputSpec([None, 3, 6, 6], "float32")])
    with pytest.raises(ConfigError, match=f"(?s)overrides: .*{message}"):  # without input_spec, in the first batch at the latest
        calibrated(small_net(), data(1, 3, 6, 6), config=config(overrides, placement))


def test_activations_are_named_in_the_message() -> None:
    with pytest.raises(
        ConfigError, match=r"'relu#1' matches no layer .* and no activation that gets a grid; did you mean 'relu#0', 'relu'"
    ):
        quantized({"relu#1": None}, "full")
    with pytest.raises(ConfigError, match="no activation"):  # it exists, and has no grid to change
        quantized({"conv1:output": QuantOverride(activation_bits=4)}, "full")


def test_layers_that_are_never_quantized_are_no_match() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    model.eval()
    for key in ("1", nn.Dropout, "re:1"):
        for placement in ("compute", "full"):
            with pytest.raises(ConfigError, match="matches no layer that can be quantized"):
                ImperativePTQ(config({key: None}, placement)).quantize(model)


def test_a_pattern_of_containers_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"'stage\?' matches no layer.*it matches 'stage0', which holds layers: use that exact name"):
        ImperativePTQ(config({"stage?": None})).quantize(deep_net())


def test_a_refused_key_leaves_the_model_as_it_was() -> None:
    model = small_net()
    before = {name: set(vars(layer)) for name, layer in model.named_sublayers()}
    with pytest.raises(ConfigError):
        ImperativePTQ(config({"covn2": None})).quantize(model, inplace=True)
    assert {name: set(vars(layer)) for name, layer in model.named_sublayers()} == before
    assert not any(layer._forward_post_hooks or layer._forward_pre_hooks for layer in model.sublayers(include_self=True))


def test_folded_batch_norms_are_still_known() -> None:
    assert twins(quantized({"bn1": None, "fc": None}, "full")) == {"conv1", "conv2"}
