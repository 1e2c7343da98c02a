"""What PaddleSlim's arguments mean here, and which of their values are refused by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paddle

from quantizers import (
    AbsmaxQuantizer,
    AvgAbsmaxQuantizer,
    BaseQuantizer,
    EMDQuantizer,
    HistQuantizer,
    KLQuantizer,
    MinMaxQuantizer,
    MSEQuantizer,
    PerChannelAbsmaxQuantizer,
)
from quantizers.errors import ConfigError

__all__ = [
    "STATIC",
    "activation_quantizer",
    "check_executor",
    "check_flag",
    "check_recoveries",
    "check_scope",
    "formats_for",
    "prefix_of",
    "weight_quantizer",
]

# What messages begin with.
STATIC = "quant_post_static"
RULES: dict[str, type[BaseQuantizer]] = {
    "KL": KLQuantizer,
    "abs_max": AbsmaxQuantizer,
    "avg": AvgAbsmaxQuantizer,
    "emd": EMDQuantizer,
    "hist": HistQuantizer,
    "min_max": MinMaxQuantizer,
    "mse": MSEQuantizer,
}
WEIGHT_RULES: dict[str, type[BaseQuantizer]] = {"abs_max": AbsmaxQuantizer, "channel_wise_abs_max": PerChannelAbsmaxQuantizer}
# Both say how Paddle's fake operators hold a scale that calibration found; here it is a scale all the same.
STATIC_RANGES = ("range_abs_max", "moving_average_abs_max")
# By name in lower letters: the formats besides the portable one; "" stands for no backend.
BACKENDS = {
    "": ("inference", "onnx"),
    "mkldnn": ("inference",),
    "onednn": ("inference",),
    "openvino": ("onnx",),
    "onnxruntime": ("onnx",),
}


def activation_quantizer(algo: Any, hist_percent: Any, bits: Any, kind: Any) -> BaseQuantizer:
    """The rule for activations.

    Raises:
        ConfigError: there is no such rule here, or a value is out of its range.
    """
    if algo not in RULES:
        raise ConfigError(f"quant_post_static: algo must be one of {', '.join(RULES)}, got {algo!r}; others of PaddleSlim are not offered")
    if kind not in STATIC_RANGES:
        raise ConfigError(
            f"quant_post_static: activation_quantize_type must be one of {', '.join(STATIC_RANGES)}, got {kind!r}; "
            "ranges that are found anew for every input (PaddleSlim's abs_max) are not offered"
        )
    settings = {"hist_percent": hist_percent} if RULES[algo] is HistQuantizer else {}
    return _made("activation_bits", RULES[algo], bits, **settings)


def weight_quantizer(kind: Any, bits: Any) -> BaseQuantizer:
    """The rule for weights; raises as `activation_quantizer`."""
    if kind not in WEIGHT_RULES:
        raise ConfigError(f"quant_post_static: weight_quantize_type must be one of {', '.join(WEIGHT_RULES)}, got {kind!r}")
    return _made("weight_bits", WEIGHT_RULES[kind], bits)


def _made(name: str, rule: type[BaseQuantizer], bits: Any, **settings: Any) -> BaseQuantizer:
    try:
        return rule(bits, **settings)
    except ConfigError as error:
        raise ConfigError(f"quant_post_static: {', '.join([name, *settings])}: {error}") from error


def check_recoveries(round_type: Any, bias_correction: Any) -> None:
    """Raises `ConfigError` for what wins accuracy back and is not done here."""
    if round_type != "round":
        raise ConfigError(f"quant_post_static: round_type must be 'round', got {round_type!r}; adaptive rounding is not offered")
    if check_flag("bias_correction", bias_correction):
        raise ConfigError("quant_post_static: bias_correction=True is not offered; leave it False")


def check_flag(name: str, value: Any, caller: str = STATIC) -> bool:
    """The value, if it is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{caller}: {name} must be True or False, got {value!r}")
    return value


def check_executor(executor: Any, scope: Any) -> None:
    """Raises `ConfigError` unless these are what PaddleSlim takes; a program is neither run by an executor here nor put into a scope."""
    if executor is not None and not isinstance(executor, paddle.static.Executor):
        raise ConfigError(f"quant_post_static: executor must be a paddle.static.Executor or None, got {executor!r}")
    check_scope(scope)


def check_scope(scope: Any, caller: str = STATIC) -> None:
    """Raises `ConfigError` unless that is a scope or None."""
    if scope is not None and not isinstance(scope, type(paddle.static.global_scope())):
        raise ConfigError(f"{caller}: scope must be a paddle.static.Scope or None, got {scope!r}")


def formats_for(onnx_format: Any, deploy_backend: Any) -> tuple[str, ...]:
    """The formats to try besides the portable one.

    Raises:
        ConfigError: the backend is none for which int8 can be written.
    """
    name = "" if deploy_backend is None else deploy_backend
    if not isinstance(name, str) or name.lower() not in BACKENDS:
        known = "None, 'MKLDNN', 'OpenVINO', 'ONNXRuntime'"
        raise ConfigError(f"quant_post_static: deploy_backend must be one of {known}, got {deploy_backend!r}; others run nothing of ours")
    chosen = BACKENDS[name.lower()]
    return chosen if check_flag("onnx_format", onnx_format) or name else tuple(kind for kind in chosen if kind != "onnx")


def prefix_of(folder: Any, model: Any, params: Any, caller: str = STATIC, folder_name: str = "quantize_model_path") -> str:
    """The prefix of what is written: the folder, and the name of the model's file without its ending.

    Raises:
        ConfigError: the names are none, or each parameter should get a file of its own.
    """
    if params is None:
        raise ConfigError(f"{caller}: save_params_filename=None, one file for each parameter, is not offered; give it a name")
    names: Sequence[tuple[str, Any]] = (("save_model_filename", model), ("save_params_filename", params))
    for argument, name in names:
        if not isinstance(name, str) or not name or Path(name).name != name:
            raise ConfigError(f"{caller}: {argument} must be the name of a file, got {name!r}")
    if not isinstance(folder, (str, os.PathLike)) or not os.fspath(folder):
        raise ConfigError(f"{caller}: {folder_name} must be a folder, got {folder!r}")
    stem = model
    for ending in (".pdmodel", ".json"):
        stem = stem.removesuffix(ending)
    if not stem:
        raise ConfigError(f"{caller}: save_model_filename must have a name before its ending, got {model!r}")
    return str(Path(folder, stem))
