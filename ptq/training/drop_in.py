"""Paddle's own names for quantization-aware training, with its arguments; the engine behind them is this project's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paddle import nn
from paddle.quantization import QuantConfig

from quantizers.errors import ConfigError, ModelError

from ..imperative import ImperativePTQ
from .config import QATConfig
from .convert import convert
from .prepare import is_prepared, prepare

__all__ = ["QAT", "ImperativeQuantAware"]

LAYERS = ("Conv2D", "Linear", "Conv2DTranspose", "ColumnParallelLinear", "RowParallelLinear")
PARALLEL = ("ColumnParallelLinear", "RowParallelLinear")  # in Paddle's default; models that hold them are not quantized here
WEIGHTS = {"abs_max": False, "channel_wise_abs_max": True}
ACTIVATIONS = ("abs_max", "moving_average_abs_max")


class QAT:
    """As `paddle.quantization.QAT`.

    Args:
        config: a `paddle.quantization.QuantConfig`; this project's configs do too.

    Raises:
        ConfigError: it is neither.
    """

    def __init__(self, config: Any) -> None:
        if not isinstance(config, (QuantConfig, QATConfig)):
            raise ConfigError(f"QAT takes a paddle.quantization.QuantConfig, got {config!r:.200}")
        self._config = config

    def quantize(self, model: nn.Layer, inplace: bool = False) -> nn.Layer:
        """The model to train; see `ptq.qat.prepare`."""
        return prepare(model, self._config, inplace=inplace)

    def convert(self, model: nn.Layer, inplace: bool = False, remain_weight: bool = False) -> nn.Layer:
        """The quantized model of a trained one; see `ptq.qat.convert`.  ``remain_weight=True`` is refused: weights become integers."""
        if remain_weight:
            raise ConfigError("QAT.convert: remain_weight=True is not offered; ImperativePTQ.save_quantized_model(float_baseline=True) is")
        return convert(model, inplace=inplace)


class ImperativeQuantAware:
    """As Paddle's `ImperativeQuantAware`: arguments, their order and their defaults.

    Args:
        quantizable_layer_type: names or classes of layers.
        weight_quantize_type: ``abs_max`` or ``channel_wise_abs_max``.
        activation_quantize_type: ``abs_max`` or ``moving_average_abs_max``.
        weight_bits, activation_bits: 2..16.
        moving_rate: of the moving average.
        fuse_conv_bn: fold batch norms before training, which needs ``input_spec`` in `quantize`; otherwise they are folded in the end.
        weight_preprocess_layer, act_preprocess_layer, weight_quantize_layer, act_quantize_layer: see `QATConfig`.
        onnx_format: also save for ONNX Runtime and OpenVINO (extra ``onnx``).

    Raises:
        ConfigError: an argument has a value that is not offered.
    """

    def __init__(
        self,
        quantizable_layer_type: Sequence[Any] = LAYERS,
        weight_quantize_type: str = "abs_max",
        activation_quantize_type: str = "moving_average_abs_max",
        weight_bits: int = 8,
        activation_bits: int = 8,
        moving_rate: float = 0.9,
        fuse_conv_bn: bool = False,
        weight_preprocess_layer: Any = None,
        act_preprocess_layer: Any = None,
        weight_quantize_layer: Any = None,
        act_quantize_layer: Any = None,
        onnx_format: bool = False,
    ) -> None:
        if weight_quantize_type not in WEIGHTS:
            raise ConfigError(f"weight_quantize_type must be one of {', '.join(WEIGHTS)}, got {weight_quantize_type!r}")
        if activation_quantize_type not in ACTIVATIONS:
            raise ConfigError(f"activation_quantize_type must be one of {', '.join(ACTIVATIONS)}, got {activation_quantize_type!r}")
        for name, flag in (("fuse_conv_bn", fuse_conv_bn), ("onnx_format", onnx_format)):
            if not isinstance(flag, bool):
                raise ConfigError(f"{name} must be True or False, got {flag!r}")
        self._formats = ("jit", "onnx") if onnx_format else ("jit",)
        self._config = QATConfig(
            activation_quantize_type,
            "abs_max",
            activation_bits=activation_bits,
            weight_bits=weight_bits,
            per_channel=WEIGHTS[weight_quantize_type],
            fuse="before" if fuse_conv_bn else "convert",
            moving_rate=moving_rate,
            weight_preprocess_func=weight_preprocess_layer,
            act_preprocess_func=act_preprocess_layer,
            weight_quantize_func=weight_quantize_layer,
            act_quantize_func=act_quantize_layer,
            quantizable_layer_type=[kind for kind in quantizable_layer_type if kind not in PARALLEL],
        )

    def quantize(self, model: nn.Layer, input_spec: Sequence[Any] | None = None) -> nn.Layer:
        """Prepares the model itself for training, and returns it.

        Args:
            model: changed in place.
            input_spec: only for ``fuse_conv_bn``: `InputSpec`s or example tensors of ``forward``'s arguments.
        """
        return prepare(model, self._config, inplace=True, input_spec=input_spec)

    def save_quantized_model(self, layer: nn.Layer, path: str, input_spec: Sequence[Any] | None = None, **config: Any) -> nn.Layer:
        """Converts a copy of the trained model and saves it; see `ImperativePTQ.save_quantized_model`.

        Returns:
            The converted model that was saved; ``layer`` can be trained on.

        Raises:
            ModelError: the model was not prepared by `quantize`.
            ArtifactError: it cannot be written, or answers otherwise than it should.
        """
        if not isinstance(layer, nn.Layer) or not is_prepared(layer):
            raise ModelError("save_quantized_model needs the model that quantize returned")
        return ImperativePTQ().save_quantized_model(convert(layer), path, input_spec, **{"formats": self._formats, **config})
