"""PaddleSlim's `quant_embedding`: tables of embeddings as int8."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ConfigError, ModelError

from ..quantize_model.steps import Steps
from ..util.messages import warn
from ..weights.select import layers_to_quantize
from ..weights.settings import WeightSettings
from ..weights.swap import with_twins, working_copy
from ..weights.weight_only import opened, twin_of
from .arguments import check_scope
from .modes import dynamic_mode

__all__ = ["quant_embedding"]

NAME = "quant_embedding"
LOOKUPS = ("lookup_table", "lookup_table_v2")
# Operators of older programs that Paddle 3 has no layer for.
OTHERS = ("fused_embedding_seq_pool", "pyramid_hash")
TYPES = ("abs_max", "log")
SETTINGS: Mapping[str, Any] = {"quantize_type": "abs_max", "quantize_bits": 8, "dtype": "int8", "threshold": None}


def quant_embedding(program: Any, place: Any = None, config: Mapping[str, Any] | None = None, scope: Any = None) -> nn.Layer:
    """Stores the tables of embeddings as int8; look-ups read integers.

    Args:
        program: a layer, which is left as it was, or the path of a saved program.  A `paddle.static.Program` is refused: save it with
            `paddle.static.save_inference_model` and give the path.
        place: where PaddleSlim kept the table; taken and not needed.
        config: ``quantize_op_types``: out of ``lookup_table``, ``lookup_table_v2``, ``fused_embedding_seq_pool``, ``pyramid_hash``, all by
            default, of which Paddle 3 has the first two; and for all, or under an operator's name for that one: ``quantize_type``:
            ``abs_max`` or ``log``; ``quantize_bits``: 8; ``dtype``: ``int8``; ``threshold``: numbers beyond it are cut off first.
        scope: a `paddle.static.Scope` or None; nothing is put into it.

    Returns:
        The model with int8 tables, to be saved with `ImperativePTQ.save_quantized_model`.

    Raises:
        ConfigError: a key or value is not offered, or no embedding is of these operators; the message names it.
        ModelError, ProgramError: as `quantize_weights`.
    """
    check_scope(scope, NAME)
    if place is not None and not type(place).__name__.endswith("Place"):
        raise ConfigError(f"{NAME}: place must be a place such as paddle.CPUPlace() or None, got {place!r:.200}")
    kinds, settings = _settings(config)
    if not isinstance(program, (nn.Layer, str, os.PathLike)):
        raise ConfigError(f"{NAME}: program must be a layer or the path of a saved program, got {type(program).__name__}")
    with dynamic_mode():
        model, source = opened(program, Steps(False))
        chosen = settings.get(next((kind for kind in LOOKUPS if kind in kinds), ""))
        if chosen is None:
            raise ConfigError(f"{NAME}: {source} has no operator of {', '.join(kinds)}; Paddle 3 has {' and '.join(LOOKUPS)}")
        try:
            names = layers_to_quantize(model, None, lambda layer: isinstance(layer, nn.Embedding))
        except ModelError as error:
            raise ConfigError(f"{NAME}: {source} has no embedding with float numbers") from error
        working = working_copy(model)
        layers = {name: layer for name, layer in working.named_sublayers(include_self=True) if name in names}
        with paddle.no_grad():
            twins = {name: _twin(name, layer, chosen) for name, layer in layers.items()}
        return with_twins(working, twins, keep_float=False)


def _twin(name: str, layer: nn.Layer, chosen: Mapping[str, Any]) -> Any:
    is_log = chosen["quantize_type"] == "log"
    settings = WeightSettings(algorithm="log") if is_log else WeightSettings(per_channel=False)
    return twin_of(name, layer, settings, clip=chosen["threshold"])


def _settings(config: Any) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The operators, and what each is told."""
    if config is None:
        config = {}
    if not isinstance(config, Mapping):
        raise ConfigError(f"{NAME}: config must be a dict or None, got {config!r:.200}")
    known = ("quantize_op_types", *LOOKUPS, *OTHERS, *SETTINGS)
    unknown = [key for key in config if key not in known]
    if unknown:
        raise ConfigError(f"{NAME}: config has no {', '.join(map(repr, unknown))}; it has {', '.join(known)}")
    kinds = config.get("quantize_op_types", (*LOOKUPS, *OTHERS))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, (list, tuple)) or not kinds or any(kind not in (*LOOKUPS, *OTHERS) for kind in kinds):
        raise ConfigError(f"{NAME}: quantize_op_types must list some of {', '.join((*LOOKUPS, *OTHERS))}, got {kinds!r:.200}")
    shared = {key: value for key, value in config.items() if key in SETTINGS}
    found = {kind: _checked(kind, {**SETTINGS, **shared, **_own(kind, config)}) for kind in kinds}
    for kind in (kind for kind in (*LOOKUPS, *OTHERS) if kind in config and kind not in kinds):
        warn(f"{NAME}: config has settings for {kind}, which quantize_op_types leaves out")
    return list(kinds), found


def _own(kind: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    own = config.get(kind, {})
    if not isinstance(own, Mapping) or any(key not in SETTINGS for key in own):
        raise ConfigError(f"{NAME}: config[{kind!r}] must be a dict with some of {', '.join(SETTINGS)}, got {own!r:.200}")
    return own


def _checked(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    for key, offered in (("quantize_type", TYPES), ("quantize_bits", (8,)), ("dtype", ("int8",))):
        if settings[key] not in offered or isinstance(settings[key], bool):
            raise ConfigError(f"{NAME}: {key} of {kind} must be {' or '.join(map(repr, offered))}, got {settings[key]!r:.200}")
    limit = settings["threshold"]
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < float("inf")):
        raise ConfigError(f"{NAME}: threshold of {kind} must be a positive number or None, got {limit!r:.200}")
    return settings
