"""Recurrent layers: simple, LSTM and GRU, in several layers and both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paddle import nn

from ..records import Operation, Recorded
from .built import Built, known, zeros

__all__ = ["LAYERS"]

KINDS: dict[str, tuple[type[nn.Layer], dict[str, str]]] = {
    "LSTM": (nn.LSTM, {}),
    "GRU": (nn.GRU, {}),
    "RNN_TANH": (nn.SimpleRNN, {"activation": "tanh"}),
    "RNN_RELU": (nn.SimpleRNN, {"activation": "relu"}),
}


class WithStates:
    """Calls the layer with its states as the operator has them, and answers in the operator's order.

    Args:
        states: how many states the layer has.
        lengths: whether the last tensor is the lengths of the sequences.
    """

    def __init__(self, states: int, lengths: bool) -> None:
        self.states, self.lengths = states, lengths

    def __call__(self, layer: nn.Layer, x: Any, *rest: Any) -> Any:
        states = rest[0] if self.states == 1 else rest[: self.states]
        answer, final = layer(x, states, rest[self.states] if self.lengths else None)
        return answer, None, [final] if self.states == 1 else list(final)


def _recurrent(operation: Operation, recorded: Recorded) -> Built | None:
    attrs, states, weights = operation.attrs, operation.inputs["pre_state"], operation.inputs["weight_list"]
    if attrs["mode"] not in KINDS or not isinstance(states, tuple) or not isinstance(weights, tuple) or not attrs["is_test"]:
        return None
    named = known(recorded, dict(zip(_names(attrs), weights, strict=False)))
    if named is None or len(named) != len(weights) or len(weights) != len(_names(attrs)):
        return None
    kind, more = KINDS[attrs["mode"]]
    lengths = operation.inputs.get("sequence_length")
    attributes = ("weight_ih_attr", "weight_hh_attr", "bias_ih_attr", "bias_hh_attr")
    arguments = {
        "input_size": _input_size(recorded, weights, attrs),
        "hidden_size": attrs["hidden_size"],
        "num_layers": attrs["num_layers"],
        "direction": "bidirect" if attrs["is_bidirec"] else "forward",
        "time_major": True,
        "dropout": attrs["dropout_prob"],
        **more,
        **{name: zeros() for name in attributes},
    }
    inputs = (operation.operand("x"), *states, *([lengths] if isinstance(lengths, int) else []))
    return Built(kind, arguments, inputs, named, WithStates(len(states), lengths is not None))


def _input_size(recorded: Recorded, weights: tuple[int, ...], attrs: dict[str, Any]) -> int:
    return recorded.shapes[weights[0]][1] if weights else int(attrs["input_size"])


def _names(attrs: dict[str, Any]) -> list[str]:
    """The names of the layer's parameters in the operator's order: all weights, then all biases."""
    suffixes = [f"_l{number}{way}" for number in range(attrs["num_layers"]) for way in (("", "_reverse") if attrs["is_bidirec"] else ("",))]
    return [f"{kind}_{of}{suffix}" for kind in ("weight", "bias") for suffix in suffixes for of in ("ih", "hh")]


LAYERS: dict[str, Callable[[Operation, Recorded], Built | None]] = {"rnn": _recurrent}
