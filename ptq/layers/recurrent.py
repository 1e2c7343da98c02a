"""Quantized recurrent layers and cells.

The weights, and the sequence that goes in, are on grids; the state from step to step stays float, for a layer's steps run within one
operator of Paddle.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn

from quantizers import QParams

from ..util.paddle_private import RNNBase
from .base import QuantizedLayer, Weight, dequantized

__all__ = [
    "QuantizedGRU",
    "QuantizedGRUCell",
    "QuantizedLSTM",
    "QuantizedLSTMCell",
    "QuantizedSimpleRNN",
    "QuantizedSimpleRNNCell",
    "is_one_operator",
]


def is_one_operator(layer: RNNBase) -> bool:
    """Whether Paddle runs a recurrent layer as one operator; otherwise (``proj_size``) it calls the cells in it."""
    return bool(layer.could_use_cudnn)


class QuantizedCell(QuantizedLayer):
    """Mixin of the cells: two weights, ``[gates * hidden, input]`` and ``[gates * hidden, hidden]``."""

    read_from_integers = ("weight_ih", "weight_hh")

    @classmethod
    def from_float(cls, layer: nn.Layer, input_qparams: QParams | None, *weights: Weight) -> QuantizedLayer:
        """As `QuantizedLayer.from_float`."""
        twin = super().from_float(layer, input_qparams, *weights)
        if "call" in twin.__dict__:  # `paddle.nn.RNN` keeps the float cell's forward there
            twin.__dict__["call"] = twin.forward
        return twin

    @property
    def weight_ih(self) -> paddle.Tensor:
        """The dequantized input weight."""
        return dequantized(self, "weight_ih")

    @property
    def weight_hh(self) -> paddle.Tensor:
        """The dequantized state weight."""
        return dequantized(self, "weight_hh")


class QuantizedSimpleRNNCell(QuantizedCell, nn.SimpleRNNCell):  # type: ignore[misc]
    """`paddle.nn.SimpleRNNCell` with integer weights and a fake-quantized input."""

    float_class = nn.SimpleRNNCell

    def forward(self, inputs: paddle.Tensor, states: Any = None) -> Any:
        """As `paddle.nn.SimpleRNNCell`, on the grids of weights and input."""
        return nn.SimpleRNNCell.forward(self, self.quantize_input(inputs), states)


class QuantizedLSTMCell(QuantizedCell, nn.LSTMCell):  # type: ignore[misc]
    """`paddle.nn.LSTMCell` with integer weights and a fake-quantized input; the weight of ``proj_size`` stays float."""

    float_class = nn.LSTMCell

    def forward(self, inputs: paddle.Tensor, states: Any = None) -> Any:
        """As `paddle.nn.LSTMCell`, on the grids of weights and input."""
        return nn.LSTMCell.forward(self, self.quantize_input(inputs), states)


class QuantizedGRUCell(QuantizedCell, nn.GRUCell):  # type: ignore[misc]
    """`paddle.nn.GRUCell` with integer weights and a fake-quantized input."""

    float_class = nn.GRUCell

    def forward(self, inputs: paddle.Tensor, states: Any = None) -> Any:
        """As `paddle.nn.GRUCell`, on the grids of weights and input."""
        return nn.GRUCell.forward(self, self.quantize_input(inputs), states)


class QuantizedRecurrent(QuantizedLayer):
    """Mixin of the layers that Paddle runs as one operator, all directions and layers of depth in it.

    The operator takes a list of weights, each of which is dequantized when the list is read.  The cells that a float layer also
    holds are the same parameters under other names; a twin is without.
    """

    read_from_integers = ("_all_weights",)

    @classmethod
    def from_float(cls, layer: nn.Layer, input_qparams: QParams | None, *weights: Weight) -> QuantizedLayer:
        """As `QuantizedLayer.from_float`."""
        twin = super().from_float(layer, input_qparams, *weights)
        names = {id(parameter): name for name, parameter in layer._parameters.items()}
        state = twin.__dict__
        state["_operator_weights"] = [names[id(parameter)] for parameter in state.pop("_all_weights")]
        del state["_flat_weight"]
        for number in range(layer.num_layers):
            del twin._sub_layers[str(number)]
        return twin

    @property
    def _all_weights(self) -> list[paddle.Tensor]:
        return [getattr(self, name) if name in self._parameters else dequantized(self, name) for name in self._operator_weights]

    def __bool__(self) -> bool:
        """True: these layers are lists, empty without their cells, and Paddle's tracer takes an empty list for no layer at all."""
        return True

    def flatten_parameters(self) -> None:
        """Nothing: integers need not lie side by side."""


class QuantizedSimpleRNN(QuantizedRecurrent, nn.SimpleRNN):  # type: ignore[misc]
    """`paddle.nn.SimpleRNN` with integer weights and a fake-quantized input."""

    float_class = nn.SimpleRNN

    def forward(self, inputs: paddle.Tensor, initial_states: Any = None, sequence_length: Any = None) -> Any:
        """As `paddle.nn.SimpleRNN`, on the grids of weights and input."""
        return nn.SimpleRNN.forward(self, self.quantize_input(inputs), initial_states, sequence_length)


class QuantizedLSTM(QuantizedRecurrent, nn.LSTM):  # type: ignore[misc]
    """`paddle.nn.LSTM` with integer weights and a fake-quantized input."""

    float_class = nn.LSTM

    def forward(self, inputs: paddle.Tensor, initial_states: Any = None, sequence_length: Any = None) -> Any:
        """As `paddle.nn.LSTM`, on the grids of weights and input."""
        return nn.LSTM.forward(self, self.quantize_input(inputs), initial_states, sequence_length)


class QuantizedGRU(QuantizedRecurrent, nn.GRU):  # type: ignore[misc]
    """`paddle.nn.GRU` with integer weights and a fake-quantized input."""

    float_class = nn.GRU

    def forward(self, inputs: paddle.Tensor, initial_states: Any = None, sequence_length: Any = None) -> Any:
        """As `paddle.nn.GRU`, on the grids of weights and input."""
        return nn.GRU.forward(self, self.quantize_input(inputs), initial_states, sequence_length)
