"""The engine: quantize a model for calibration, convert it, save it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.static import InputSpec

from quantizers import BaseQuantizer
from quantizers.errors import AlreadyQuantizedError, ConfigError, ModelError

from . import layers as _layers  # noqa: F401 - registers every known layer
from .attachment import attach_quantizers
from .config import PTQConfig, default_ptq_config
from .conversion import convert_model
from .export.save import save_artifact
from .hooks import SummaryCache, attach_batch_hook, is_calibrating, observation_of
from .observation import Observation
from .preparation import Preparation
from .registry import PTQRegistry

__all__ = ["ImperativePTQ"]


class ImperativePTQ:
    """Post-training quantization of a dygraph model: `quantize`, run calibration data, `convert`, save.

    Args:
        quant_config: quantizers and settings; never changed, every layer gets a copy.

    Raises:
        ConfigError: ``quant_config`` is not a `PTQConfig`.
    """

    def __init__(self, quant_config: PTQConfig = default_ptq_config) -> None:
        if not isinstance(quant_config, PTQConfig):
            raise ConfigError(f"quant_config must be a PTQConfig, got {quant_config!r}")
        self._quant_config = quant_config

    def quantize(
        self,
        model: nn.Layer,
        inplace: bool = False,
        fuse: bool = False,
        fuse_list: Sequence[Sequence[str]] | None = None,
        input_spec: Sequence[Any] | None = None,
    ) -> nn.Layer:
        """Prepares a model for calibration: every supported leaf layer gets a config of its own and one forward post-hook.

        Args:
            model: a model in dynamic mode.  A layer with ``skip_quant = True`` stays float, with all below it; its
                batch norm is folded all the same.
            inplace: prepare ``model`` itself rather than a copy.
            fuse: fold batch norms into the layers before them.  The returned model is then in eval mode.
            fuse_list: names to fuse, e.g. ``[["conv1", "bn1"]]``; without it they are found in the traced graph.
            input_spec: `InputSpec`s or example tensors of ``forward``'s arguments, to trace the model at once; without it the
                model is traced when the first calibration batch arrives.

        Returns:
            The prepared model, which computes what ``model`` does.

        Raises:
            ModelError: ``model`` is not a layer, or static mode is on.
            AlreadyQuantizedError: the model was prepared or converted before.
            FuseError: a name in ``fuse_list`` does not exist or cannot be fused.
            TraceError: automatic fusing of a model that cannot be traced (raised by the first batch without ``input_spec``).
        """
        _check_model(model)
        if fuse_list is not None and not fuse:
            raise ConfigError("fuse_list is given but fuse is False; pass fuse=True, or leave fuse_list out")
        if not inplace:
            model = copy.deepcopy(model)
        if fuse:
            model.eval()
        specs = None if input_spec is None else _as_specs(input_spec)
        prepare = Preparation(self._quant_config, fuse)
        if fuse_list is not None:
            prepare.fuse_by_name(model, fuse_list, specs)
        observation, cache = Observation(), SummaryCache()
        if specs is not None:
            prepare(model, observation, specs)
        attach_quantizers(model, self._quant_config, observation, cache)
        attach_batch_hook(model, observation, cache, None if specs is not None else prepare)
        if specs is not None:
            prepare.place(model, observation)
        return model

    def convert(
        self,
        model: nn.Layer,
        inplace: bool = True,
        activation_quantizer: BaseQuantizer | None = None,
        weight_quantizer: BaseQuantizer | None = None,
    ) -> nn.Layer:
        """Removes the calibration hooks, computes thresholds and swaps compute layers for their quantized twins.

        Args:
            model: a model from `quantize` that has seen calibration data.
            inplace: convert ``model`` itself, as Paddle does.  A model that is itself a quantized layer is replaced, so always
                use the returned model.
            activation_quantizer, weight_quantizer: use these rules on the statistics that were collected, instead of the
                configured ones.

        Returns:
            The converted model.  Layers that no data reached stay float, with a warning that lists them.

        Raises:
            ModelError: the model was not prepared with `quantize`, or was converted already.
            NoCalibrationDataError: no data reached any layer.
            NonFiniteError: a tensor held NaN or Inf, or a weight does.
        """
        _check_dynamic_mode()
        if not isinstance(model, nn.Layer) or not is_calibrating(model):
            raise ModelError("convert needs a model prepared with ImperativePTQ.quantize that is not converted yet")
        if not inplace:
            model = copy.deepcopy(model)
        return convert_model(model, activation_quantizer, weight_quantizer)

    _convert = convert

    def save_quantized_model(self, model: nn.Layer, path: str, input_spec: Sequence[Any] | None = None, **config: Any) -> nn.Layer:
        """Converts the model if it is not converted yet, saves it and checks what was saved in a fresh process.

        Args:
            model: a model from `quantize` or `convert`.
            path: prefix of the files: ``path.json``, ``path.pdiparams``, and the manifest ``path.ptq.json``.
            input_spec: `InputSpec`s or example tensors of ``forward``'s arguments; ``None`` means the shapes seen in calibration,
                batch dimension free.
            **config: options of `paddle.jit.save`, such as ``output_spec``: positions of the outputs to keep, or the tensors.

        Returns:
            The converted model that was saved.

        Raises:
            ArtifactError: the files cannot be written.
            MismatchError: the saved model does not answer as the model in memory; an older artifact is left as it was.
        """
        if not isinstance(model, nn.Layer):
            raise ModelError(f"save_quantized_model needs a paddle.nn.Layer, got {model!r}")
        _check_dynamic_mode()
        if is_calibrating(model):
            model = self.convert(model)
        elif not any(PTQRegistry.is_quantized_layer(layer) for layer in model.sublayers(include_self=True)):
            raise ModelError("the model has no quantized layer: prepare it with quantize and run calibration data first")
        save_artifact(model, path, None if input_spec is None else _as_specs(input_spec, keep_tensors=True), **config)
        return model


def _check_dynamic_mode() -> None:
    if not paddle.in_dynamic_mode():
        raise ModelError("static mode is on: call paddle.disable_static() before quantizing a dygraph model")


def _check_model(model: Any) -> None:
    if not isinstance(model, nn.Layer):
        raise ModelError(f"the model must be a paddle.nn.Layer, got {model!r}")
    if isinstance(model, paddle.DataParallel):
        raise ModelError("the model is wrapped in paddle.DataParallel: quantize what it wraps, model._layers")
    _check_dynamic_mode()
    static = [
        name or type(layer).__name__
        for name, layer in model.named_sublayers(include_self=True)
        if isinstance(layer.forward, StaticFunction)
    ]
    if static:
        raise ModelError(
            f"{', '.join(static[:5])}: forward was turned into a program by paddle.jit.to_static, so hooks would see no data; "
            "call forward.rollback(), or paddle.jit.enable_to_static(False) before building the model"
        )
    if is_calibrating(model) or observation_of(model) is not None:
        raise AlreadyQuantizedError("the model was prepared by quantize already; quantize the float model instead")
    twins = [
        name or type(layer).__name__ for name, layer in model.named_sublayers(include_self=True) if PTQRegistry.is_quantized_layer(layer)
    ]
    if twins:
        raise AlreadyQuantizedError(f"the model holds quantized layers already: {', '.join(twins[:5])}; quantize the float model instead")


def _as_specs(input_spec: Sequence[Any], keep_tensors: bool = False) -> list[Any]:
    """A list of `InputSpec`s, made of example tensors where those are given."""
    if isinstance(input_spec, (InputSpec, paddle.Tensor)):
        input_spec = [input_spec]
    if not isinstance(input_spec, (list, tuple)):
        raise ConfigError(f"input_spec must be a list of InputSpecs or tensors, got {input_spec!r}")
    if keep_tensors:
        return list(input_spec)
    return [InputSpec(item.shape, item.dtype) if isinstance(item, paddle.Tensor) else item for item in input_spec]
