"""What to train with: which ranges, how wide, where, and how batch norms are folded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from quantizers import BaseQuantizer, PerChannelQuantizer
from quantizers.errors import ConfigError

from ..config.config import PTQConfig
from ..config.keys import Overrides
from ..config.overrides import QuantOverride
from .grids import ACTIVATIONS, WEIGHTS, first_activation_rule, first_weight_rule
from .grids.observed import check_rate, check_window

__all__ = ["FOLDS", "QATConfig", "qat_config"]

FOLDS = ("convert", "training", "before", None)


class QATConfig:
    """Settings of `ptq.qat.prepare`.

    Args:
        activations: how ranges of activations are found.  ``"lsq"``: the step is a parameter (symmetric, or unsigned where nothing is
            negative); ``"lsq+"``: step and offset are; ``"pact"``: the clipping range is; ``"moving_average_abs_max"``,
            ``"range_abs_max"`` (the largest of the last ``window_size`` batches), ``"abs_max"`` (each batch's own in training);
            ``"fixed"``: that of calibration stays.
        weights: the same for weights: ``"lsq"``, ``"abs_max"``, ``"moving_average_abs_max"``, ``"range_abs_max"``.
        activation_bits, weight_bits: widths, 2..16.
        per_channel: weights have a scale per output channel.
        placement: as in `PTQConfig`.
        fuse: what becomes of the batch norm behind a layer.  ``"convert"``: it is trained as it is and folded into the integers'
            scales in the end, which is exact; ``"training"``: weights are rounded with the batch norm folded in (Jacob et al. 2018,
            arXiv:1712.05877, with the correction of Krishnamoorthi 2018, arXiv:1806.08342), its statistics still learned until
            `ptq.qat.freeze_batch_norms`; ``"before"``: it is folded at once and has no statistics any more; ``None``: it stays a layer.
        overrides: as in `PTQConfig`: other bits for some layers, or ``None`` for what stays float.
        moving_rate: how much the past weighs in moving averages.
        window_size: batches of ``"range_abs_max"``.
        initial: the rule that gives activations their first range, from calibration or the first batch; by the kind when ``None``.
        weight_quantize_func, act_quantize_func: a layer, a class of layers or a function that rounds weights or activations instead;
            it must round to an integer grid that it keeps, see `ptq.training.grids.functions`.
        weight_preprocess_func, act_preprocess_func: the same for what happens before the rounding.
        optimizer_func: makes an optimizer for the parameters of these functions: ``optimizer_func(parameters)``, or without an argument
            where that gives one in static mode, as for PaddleSlim.  See `ptq.qat.joint_optimizer`.
        not_quant_pattern: texts; a layer with one of them in its name stays float.
        quantizable_layer_type: names or classes of the layers to quantize, all by default.

    Raises:
        ConfigError: a setting is out of range or of the wrong kind.
    """

    def __init__(
        self,
        activations: str = "lsq",
        weights: str = "lsq",
        *,
        activation_bits: int = 8,
        weight_bits: int = 8,
        per_channel: bool = True,
        placement: str = "compute",
        fuse: str | None = "convert",
        overrides: Overrides | None = None,
        moving_rate: float = 0.9,
        window_size: int = 10000,
        initial: BaseQuantizer | None = None,
        weight_quantize_func: Any = None,
        act_quantize_func: Any = None,
        weight_preprocess_func: Any = None,
        act_preprocess_func: Any = None,
        optimizer_func: Callable[..., Any] | None = None,
        not_quant_pattern: Any = (),
        quantizable_layer_type: Any = None,
    ) -> None:
        for name, kind, known in (("activations", activations, ACTIVATIONS), ("weights", weights, WEIGHTS)):
            if kind not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, got {kind!r}")
        if fuse not in FOLDS:
            raise ConfigError(f"fuse must be one of {', '.join(map(repr, FOLDS))}, got {fuse!r}")
        if not isinstance(per_channel, bool):
            raise ConfigError(f"per_channel must be True or False, got {per_channel!r}")
        self.activations, self.weights, self.fuse = activations, weights, fuse
        self.moving_rate, self.window_size = check_rate(moving_rate), check_window(window_size)
        self.weight_quantize_func, self.act_quantize_func = weight_quantize_func, act_quantize_func
        self.weight_preprocess_func, self.act_preprocess_func = weight_preprocess_func, act_preprocess_func
        self.optimizer_func = optimizer_func
        self.not_quant_pattern = _texts("not_quant_pattern", not_quant_pattern)
        self.quantizable_layer_type = quantizable_layer_type
        self._check_functions()
        self.ptq = PTQConfig(
            first_activation_rule(activations, activation_bits) if initial is None else _with_bits(initial, activation_bits),
            first_weight_rule(weights, weight_bits, per_channel),
            placement=placement,
            per_channel_activations=False,
            overrides=overrides,
        )

    def _check_functions(self) -> None:
        for name in ("weight_quantize_func", "act_quantize_func", "weight_preprocess_func", "act_preprocess_func", "optimizer_func"):
            given = getattr(self, name)
            if given is not None and not callable(given) and not hasattr(given, "_instance"):
                raise ConfigError(f"{name} must be a layer, a class of layers or a function, got {given!r}")

    def with_ptq(self, ptq: PTQConfig) -> QATConfig:
        """The same with another `PTQConfig` behind it."""
        made = QATConfig.__new__(QATConfig)
        vars(made).update(vars(self), ptq=ptq)
        return made


def qat_config(config: Any) -> QATConfig:
    """A `QATConfig`, or what a `PTQConfig` means in training: its rules give the first ranges, from where they are learned.

    Raises:
        ConfigError: it is neither.
    """
    if config is None:
        return QATConfig()
    if isinstance(config, QATConfig):
        return config
    if isinstance(config, PTQConfig):
        symmetric = bool(getattr(config.in_act_quantizer, "symmetric", True))
        made = QATConfig("lsq" if symmetric else "lsq+", "lsq", per_channel=isinstance(config.wt_quantizer, PerChannelQuantizer))
        activations, weights = config.in_act_quantizer, config.wt_quantizer
        return made.with_ptq(
            PTQConfig(activations, weights, placement=config.placement, per_channel_activations=False, overrides=config.overrides)
        )
    raise ConfigError(f"prepare takes a ptq.qat.QATConfig, a PTQConfig or a paddle.quantization.QuantConfig, got {config!r:.200}")


def _with_bits(rule: BaseQuantizer, bits: int) -> BaseQuantizer:
    return QuantOverride(activation_bits=bits, activation_quantizer=rule).activation(rule)


def _texts(name: str, given: Any) -> tuple[str, ...]:
    found = (given,) if isinstance(given, str) else given
    if not isinstance(found, (list, tuple)) or not all(isinstance(text, str) and text for text in found):
        raise ConfigError(f"{name} must be a text or a list of texts, got {given!r}")
    return tuple(found)


def with_float_layers(ptq: PTQConfig, names: Iterable[str]) -> PTQConfig:
    """The config with more layers, by name, that stay float."""
    return PTQConfig(
        ptq.in_act_quantizer,
        ptq.wt_quantizer,
        placement=ptq.placement,
        per_channel_activations=ptq.per_channel_activations,
        overrides={**ptq.overrides, **dict.fromkeys(names)},
    )
