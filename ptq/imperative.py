"""The engine: quantize a model for calibration, convert it, save it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.static import InputSpec

from quantizers import BaseQuantizer
from quantizers.errors import ConfigError, ModelError

from . import layers as _layers  # noqa: F401 - registers every known layer
from .calibration.attachment import attach_quantizers
from .calibration.hooks import attach_batch_hook, is_calibrating
from .calibration.preparation import Preparation
from .calibration.state import State, state_of
from .config.config import PTQConfig, default_ptq_config
from .config.keys import ModelKeys
from .convert.apply import as_float
from .convert.convert import convert_model
from .convert.weights import Rounding, round_to_nearest
from .export.baseline import baseline_path
from .export.formats import formats_named
from .export.save import staged_artifact
from .graph.markers import drop_markers
from .registry import PTQRegistry
from .reports.check import refuse_or_warn, require_dynamic_mode
from .reports.coverage import coverage
from .util.messages import last_line

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
            ModelError: ``model`` is not a layer, or cannot be copied, or static mode is on.
            AlreadyQuantizedError: the model was prepared or converted before.
            NonFiniteError: a weight that is to be quantized holds NaN or Inf.
            UnsupportedDtypeError: such a weight is complex.
            FuseError: a name in ``fuse_list`` does not exist or cannot be fused.
            TraceError: automatic fusing of a model that cannot be traced (raised by the first batch without ``input_spec``).
            ConfigError: the config's placement is ``fastest``, or its overrides match nothing.
        """
        if self._quant_config.placement == "fastest":
            raise ConfigError("placement 'fastest' is found by measuring, with ptq.quantize_model; here pass 'full' or 'compute'")
        refuse_or_warn(model, will_be_in_eval_mode=fuse)
        ModelKeys(model, self._quant_config.overrides).check_layers(self._quant_config.placement)
        if fuse_list is not None and not fuse:
            raise ConfigError("fuse_list is given but fuse is False; pass fuse=True, or leave fuse_list out")
        specs = None if input_spec is None else _as_specs(input_spec)
        prepare = Preparation(self._quant_config, fuse)
        if specs is not None:
            prepare.look(model, specs)
        if not inplace:
            model = _copied(model)
        if fuse:
            model.eval()
        drop_markers(model)
        if fuse_list is not None:
            prepare.fuse_by_name(model, fuse_list)
        state = State(self._quant_config)
        if specs is not None:
            prepare.trace_and_fold(model, state, specs, {})
        attach_quantizers(model, state)
        attach_batch_hook(model, state, None if specs is not None else prepare)
        if specs is not None:
            prepare.place(model, state)
        return model

    def convert(
        self,
        model: nn.Layer,
        inplace: bool = True,
        activation_quantizer: BaseQuantizer | None = None,
        weight_quantizer: BaseQuantizer | None = None,
        *,
        keep_float: bool = True,
        rounding: Rounding = round_to_nearest,
        target: str | None = None,
        leave_float: Collection[str] = (),
    ) -> nn.Layer:
        """Removes the calibration hooks, computes thresholds and swaps compute layers for their quantized twins.

        Args:
            model: a model from `quantize` that has seen calibration data.
            inplace: convert ``model`` itself, as Paddle does.  A model that is itself a quantized layer is replaced, so always
                use the returned model.
            activation_quantizer, weight_quantizer: use these rules on the statistics that were collected, instead of the
                configured ones.
            keep_float: keep the float weights and samples of the data until the model is saved, to compare with and for
                ``float_baseline``; `ptq.release` lets them go earlier.
            rounding: makes integers of a float weight, see `ptq.convert.weights`; the nearest ones by default.
            target: the runtime that the grids of placement ``full`` are for; that of the config when ``None``.  With ``inplace=False``
                one calibrated model is converted for several.
            leave_float: with placement ``full``, names of layers that stay float although they were calibrated, with the operations that
                follow them; what `quantize_model` finds for placement ``fastest``.

        Returns:
            The converted model.  Layers that no data reached stay float, with a warning that lists them.

        Raises:
            ModelError: the model was not prepared with `quantize`, or was converted already.
            NoCalibrationDataError: no data reached any layer.
            NonFiniteError: a tensor held NaN or Inf, or a weight does.
            ConfigError: ``target`` is unknown, or the placement sets no grids for it, or ``leave_float`` names what is no such layer.
        """
        require_dynamic_mode()
        if not isinstance(model, nn.Layer) or not is_calibrating(model):
            raise ModelError("convert needs a model prepared with ImperativePTQ.quantize that is not converted yet")
        if not inplace:
            model = _copied(model)
        rules = activation_quantizer, weight_quantizer
        return convert_model(model, *rules, keep_float=keep_float, rounding=rounding, target=target, leave_float=leave_float)

    _convert = convert

    def save_quantized_model(
        self,
        model: nn.Layer,
        path: str,
        input_spec: Sequence[Any] | None = None,
        *,
        formats: Sequence[str] = ("jit",),
        float_baseline: bool = False,
        verbose: bool = True,
        on_mismatch: str = "raise",
        metadata: Mapping[str, str | Sequence[str]] | None = None,
        **config: Any,
    ) -> nn.Layer:
        """Converts the model if it is not converted yet, saves it, checks what was saved in a fresh process, and prints a report.

        Args:
            model: a model from `quantize` or `convert`.
            path: prefix of the files.  Each format has its own; the manifest ``path.ptq.json`` has checksums of all.
            input_spec: `InputSpec`s or example tensors of ``forward``'s arguments; ``None`` means the shapes seen in calibration,
                batch dimension free.
            formats: ``"jit"``: ``path.json`` and ``path.pdiparams``, portable and not faster than float; ``"onnx"``: ``path.onnx``
                for ONNX Runtime and OpenVINO (extra ``onnx``); ``"openvino"``: ``path.openvino.xml`` and ``path.openvino.bin``, made of
                the same, in OpenVINO's own format (extras ``onnx`` and ``openvino``); ``"inference"``: ``path.infer.pdmodel`` and
                ``path.infer.pdiparams`` for `ptq.export.create_int8_predictor`.
            float_baseline: also save the float model, batch norms folded, in the same formats, to compare with; its prefix is
                ``float_`` and the name of this one.
            verbose: print the report.
            on_mismatch: ``"raise"``, or ``"keep"``: a format whose check failed is kept all the same, with a warning, and the report and
                the manifest say so.
            metadata: texts by name, or lists of texts, which become lines, to keep in the ONNX file, such as a recognition model's
                ``character`` list.
            **config: options of `paddle.jit.save`, such as ``output_spec``: positions of the outputs to keep, or the tensors.

        Returns:
            The converted model that was saved.

        Raises:
            ArtifactError: the files cannot be written.
            ExportError: a format lacks an operation of the model.
            MismatchError: the saved model does not answer as the model in memory; an older artifact is left as it was.
            MissingExtraError: a format needs an extra that is not installed.
        """
        if not isinstance(model, nn.Layer):
            raise ModelError(f"save_quantized_model needs a paddle.nn.Layer, got {model!r}")
        require_dynamic_mode()
        formats_named(formats)
        if is_calibrating(model):
            model = self.convert(model)
        elif not _has_left_float(model) and not any(map(PTQRegistry.is_quantized_layer, model.sublayers(include_self=True))):
            raise ModelError("the model has no quantized layer: prepare it with quantize and run calibration data first")
        specs = None if input_spec is None else _as_specs(input_spec, keep_tensors=True)
        with contextlib.ExitStack() as stack:
            staged = []
            if float_baseline:
                float_model = as_float(model)
                baseline = staged_artifact(float_model, baseline_path(path), specs, formats, None, on_mismatch, metadata, **config)
                staged.append(stack.enter_context(baseline))
            ledger = coverage(model, None if _has_seen(model) else specs)
            artifact = staged_artifact(model, path, specs, formats, ledger, on_mismatch, metadata, **config)
            staged.append(stack.enter_context(artifact))
            for each in staged:
                each.publish()
        if verbose:
            print("\n".join(staged[-1].report.lines()))
        state = state_of(model)
        if state is not None:
            state.release()
        return model


def _has_seen(model: nn.Layer) -> bool:
    """Whether calibration told what the model takes."""
    state = state_of(model)
    return state is not None and bool(state.seen.first_spec or state.seen.input_spec)


def _has_left_float(model: nn.Layer) -> bool:
    """Whether conversion was told to leave layers float, which may have been all."""
    state = state_of(model)
    return state is not None and bool(state.left_float)


def _copied(model: nn.Layer) -> nn.Layer:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # the user's classes: anything may come out of it
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {last_line(error)}); "
            "pass inplace=True to change the model itself"
        ) from error


def _as_specs(input_spec: Sequence[Any], keep_tensors: bool = False) -> list[Any]:
    """A list of `InputSpec`s, made of example tensors where those are given."""
    if isinstance(input_spec, (InputSpec, paddle.Tensor)):
        input_spec = [input_spec]
    if not isinstance(input_spec, (list, tuple)):
        raise ConfigError(f"input_spec must be a list of InputSpecs or tensors, got {input_spec!r}")
    if keep_tensors:
        return list(input_spec)
    return [InputSpec(item.shape, item.dtype) if isinstance(item, paddle.Tensor) else item for item in input_spec]
