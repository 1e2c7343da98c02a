"""A layer to be made: its class and arguments, the constants that are its weights, the values that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import paddle
from paddle import nn

from ..records import Recorded

__all__ = ["Built", "known", "materialize", "zeros"]


@dataclass
class Built:
    """What is known of a layer before it is made.

    Attributes:
        kind: its class.
        arguments: what the class is called with.
        weights: values of its parameters and buffers by their names in the layer.
        inputs: values that it is called with.
        function: what calls it with other than one tensor after the other: ``function(layer, *tensors)``.
    """

    kind: type[nn.Layer]
    arguments: dict[str, Any]
    inputs: tuple[int, ...]
    weights: dict[str, int] = field(default_factory=dict)
    function: Any = None

    def key(self, recorded: Recorded) -> Any:
        """Equal for two uses of one layer; ``None`` without weights, since nothing tells whether they are the same then."""
        if not self.weights:
            return None
        weights = {name: recorded.constants[value].parameter or value for name, value in self.weights.items()}
        plain = {name: value for name, value in self.arguments.items() if not name.endswith("_attr")}
        return self.kind, repr(sorted(weights.items())), repr(sorted(plain.items()))


def zeros(present: bool = True) -> Any:
    """The attribute of a parameter that is filled later, without drawing random numbers; ``False`` for one that is absent."""
    return paddle.ParamAttr(initializer=nn.initializer.Constant(0.0)) if present else False


def known(recorded: Recorded, operands: Mapping[str, Any]) -> dict[str, int] | None:
    """Operands that are float32 constants, those that are absent left out; ``None`` if one is computed."""
    found = {}
    for name, operand in operands.items():
        if operand is None:
            continue
        constant = recorded.constants.get(operand)
        if constant is None or constant.data.dtype != paddle.float32:
            return None
        found[name] = operand
    return found


def materialize(built: Built, recorded: Recorded) -> nn.Layer:
    """The layer with its weights, in eval mode."""
    layer = built.kind(**built.arguments)
    for name, value in built.weights.items():
        constant, place = recorded.constants[value], getattr(layer, name)
        place.set_value(constant.data.reshape(place.shape))
        if name in layer._parameters and constant.parameter:
            place.stop_gradient = not constant.trainable
            place.trainable = constant.trainable
    layer.eval()
    return layer
