"""PaddleSlim's `quant_aware` and `convert`: quantization-aware training of a layer, or of a saved inference program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ConfigError, ModelError

from ..programs import load_program
from ..training import QATConfig, prepare
from ..training import convert as convert_trained
from ..training.prepare import is_prepared
from ..util.structural_copy import structural_copy
from .layers import KNOWN, has_weights, operators_of
from .modes import dynamic_mode

__all__ = ["convert", "quant_aware"]

# weights: the name of a grid in training, and whether it has a scale per channel
WEIGHTS = {
    "abs_max": ("abs_max", False),
    "channel_wise_abs_max": ("abs_max", True),
    "range_abs_max": ("range_abs_max", False),
    "moving_average_abs_max": ("moving_average_abs_max", False),
}
ACTIVATIONS = ("abs_max", "range_abs_max", "moving_average_abs_max")
DEFAULTS: dict[str, Any] = {
    "weight_quantize_type": "channel_wise_abs_max",
    "activation_quantize_type": "moving_average_abs_max",
    "weight_bits": 8,
    "activation_bits": 8,
    "not_quant_pattern": ["skip_quant"],
    "quantize_op_types": ["conv2d", "depthwise_conv2d", "mul"],
    "dtype": "int8",
    "window_size": 10000,
    "moving_rate": 0.9,
    "for_tensorrt": False,
    "is_full_quantize": False,
}
# PaddleSlim's other arguments, which nothing here has a use for.
NOT_OFFERED: dict[str, Any] = {
    "calib_config": ({}, None),
    "draw_graph": (False,),
    "return_scale_dict": (False,),
    "scale_dict": (None,),
    "model_type": (None,),
    "pattern_ops": (None,),
}


def quant_aware(
    program: Any,
    place: Any = None,
    config: Mapping[str, Any] | None = None,
    scope: Any = None,
    for_test: bool = False,
    weight_quantize_func: Any = None,
    act_quantize_func: Any = None,
    weight_preprocess_func: Any = None,
    act_preprocess_func: Any = None,
    optimizer_func: Callable[..., Any] | None = None,
    executor: Any = None,
    return_program: bool = False,
    *,
    input_spec: Sequence[Any] | None = None,
    **others: Any,
) -> nn.Layer:
    """Prepares a model for quantization-aware training; train what it returns as any layer.

    Args:
        program: a layer; or a saved inference program, by its folder or prefix, which becomes a layer by `ptq.load_program`.
        place: a `paddle.CPUPlace` or another place, or None; the model is trained where Paddle is.
        config: PaddleSlim's dictionary, see ``DEFAULTS`` of this module; what is left out has its default.
        scope, executor: as PaddleSlim has them, or None; neither is needed.
        for_test: with a layer that was prepared before: one that shares its parameters, in eval mode; else the prepared model in eval mode.
        weight_quantize_func, act_quantize_func, weight_preprocess_func, act_preprocess_func, optimizer_func: see `ptq.qat.QATConfig`;
            step what `ptq.qat.joint_optimizer` returns.
        return_program: True or False, which mean the same here.
        input_spec: for a layer: `InputSpec`s or example tensors of ``forward``'s arguments, which ``is_full_quantize`` needs.
        **others: arguments of PaddleSlim that have no use here; accepted at their defaults.

    Returns:
        The layer to train, in train mode, or in eval mode with ``for_test``.

    Raises:
        ConfigError: an argument or an entry of ``config`` has a value that is not offered; the message names it.
        ProgramError: the program cannot be read.
    """
    _check_environment(place, scope, executor, others)
    for name, flag in (("for_test", for_test), ("return_program", return_program)):
        _check_flag("quant_aware", name, flag)
    if isinstance(program, nn.Layer) and is_prepared(program):
        if not for_test:
            raise ModelError("quant_aware: the model is prepared already; train it, or pass for_test=True for one to evaluate")
        shared = structural_copy(program)
        shared.eval()
        return shared
    functions = {
        "weight_quantize_func": weight_quantize_func,
        "act_quantize_func": act_quantize_func,
        "weight_preprocess_func": weight_preprocess_func,
        "act_preprocess_func": act_preprocess_func,
        "optimizer_func": optimizer_func,
    }
    settings = _settings(config)
    with dynamic_mode():
        model, spec = _opened(program, input_spec)
        prepared = prepare(model, _qat_config(model, settings, functions), input_spec=spec)
    prepared.eval() if for_test else prepared.train()
    return prepared


def _opened(program: Any, input_spec: Sequence[Any] | None) -> tuple[nn.Layer, Sequence[Any] | None]:
    """The layer of a saved program, its parameters trainable, and its inputs; or a layer as it is."""
    if isinstance(program, (str, os.PathLike)):
        opened: Any = load_program(program)
        for parameter in opened.parameters():  # an inference program may have been saved with all of them fixed
            parameter.stop_gradient = not parameter.is_floating_point()
        return opened, opened.input_spec
    if not isinstance(program, nn.Layer):
        raise ConfigError(f"quant_aware: program must be a layer, or the folder or prefix of a saved program, got {program!r}")
    return program, input_spec


def convert(
    program: nn.Layer, place: Any = None, config: Mapping[str, Any] | None = None, scope: Any = None, save_int8: bool = False
) -> Any:
    """The quantized model of a trained one, for `ptq.ImperativePTQ().save_quantized_model`.

    Args:
        program: from `quant_aware`, trained.
        place, scope: as there.
        config: as there; it has been followed when the model was prepared, and is only checked.
        save_int8: return the model twice, for PaddleSlim has a program with float weights and one with integers; ours has integers.

    Raises:
        ConfigError: an argument has a value that is not offered.
        ModelError: the model is not from `quant_aware`.
    """
    _check_environment(place, scope, None, {})
    _check_flag("convert", "save_int8", save_int8)
    _settings(config)
    with dynamic_mode():
        converted = convert_trained(program)
    return (converted, converted) if save_int8 else converted


def _settings(config: Any) -> dict[str, Any]:
    if config is not None and not isinstance(config, Mapping):
        raise ConfigError(f"quant_aware: config must be a dict or None, got {config!r}")
    settings = {**DEFAULTS, **(config or {})}
    unknown = settings.keys() - DEFAULTS.keys()
    if unknown:
        raise ConfigError(f"quant_aware: config has {', '.join(sorted(map(repr, unknown)))}; it knows {', '.join(DEFAULTS)}")
    _one_of(settings, "weight_quantize_type", WEIGHTS)
    _one_of(settings, "activation_quantize_type", ACTIVATIONS)
    _one_of(settings, "dtype", ("int8",))
    _one_of(settings, "for_tensorrt", (False,))
    _check_flag("quant_aware", "is_full_quantize", settings["is_full_quantize"])
    names = settings["quantize_op_types"]
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"quant_aware: quantize_op_types must be a list of names of operators, got {names!r}")
    others = [name for name in names if name not in KNOWN]
    if others and not settings["is_full_quantize"]:
        raise ConfigError(
            f"quant_aware: quantize_op_types has {', '.join(map(repr, others))}, which carry no weights or are unknown; "
            f"is_full_quantize=True gives grids to all operations; those with weights are {', '.join(sorted(KNOWN))}"
        )
    return settings


def _qat_config(model: nn.Layer, settings: Mapping[str, Any], functions: Mapping[str, Any]) -> QATConfig:
    weights, per_channel = WEIGHTS[settings["weight_quantize_type"]]
    wanted = set(settings["quantize_op_types"])
    others = [] if settings["is_full_quantize"] else _of_other_operators(model, wanted)
    return QATConfig(
        settings["activation_quantize_type"],
        weights,
        activation_bits=settings["activation_bits"],
        weight_bits=settings["weight_bits"],
        per_channel=per_channel,
        placement="full" if settings["is_full_quantize"] else "compute",
        overrides=dict.fromkeys(others),
        moving_rate=settings["moving_rate"],
        window_size=settings["window_size"],
        not_quant_pattern=settings["not_quant_pattern"],
        **functions,
    )


def _of_other_operators(model: nn.Layer, wanted: set[str]) -> list[str]:
    if "mul" in wanted:  # PaddleSlim's name for all products by a weight
        wanted = wanted | {"matmul", "matmul_v2"}
    return [name for name, layer in model.named_sublayers(include_self=True) if has_weights(layer) and not operators_of(layer) & wanted]


def _one_of(settings: Mapping[str, Any], name: str, known: Any) -> None:
    if settings[name] not in known:
        raise ConfigError(
            f"quant_aware: {name} must be one of {', '.join(map(repr, known))}, got {settings[name]!r}; others are not offered"
        )


def _check_flag(function: str, name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{function}: {name} must be True or False, got {value!r}")


def _check_environment(place: Any, scope: Any, executor: Any, others: Mapping[str, Any]) -> None:
    if place is not None and "Place" not in type(place).__name__:
        raise ConfigError(f"quant_aware: place must be a place such as paddle.CPUPlace(), or None, got {place!r}")
    if executor is not None and not isinstance(executor, paddle.static.Executor):
        raise ConfigError(f"quant_aware: executor must be a paddle.static.Executor or None, got {executor!r}")
    if scope is not None and not isinstance(scope, type(paddle.static.global_scope())):
        raise ConfigError(f"quant_aware: scope must be a paddle.static.Scope or None, got {scope!r}")
    for name, value in others.items():
        if name not in NOT_OFFERED:
            raise ConfigError(f"quant_aware: there is no argument {name!r}")
        if value not in NOT_OFFERED[name]:
            raise ConfigError(f"quant_aware: {name}={value!r} is not offered; leave it out")
