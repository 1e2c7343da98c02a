"""Names of layers: their path in the original model where the file knows it, else what their parameters are called."""

from __future__ import annotations

import re
from collections.abc import Sequence

from paddle import nn

from .layers import Built
from .records import Operation, Recorded

__all__ = ["name_layers", "safe_name"]


def name_layers(layers: Sequence[tuple[Operation, Built]], recorded: Recorded) -> list[str]:
    """A path for each layer, unique, none within another's."""
    wanted = [_wanted(operation, built, recorded) for operation, built in layers]
    folders = {".".join(path.split(".")[:depth]) for path in wanted for depth in range(1, path.count(".") + 1)}
    taken: set[str] = set()
    names = []
    for path, (_, built) in zip(wanted, layers, strict=True):
        base = f"{path}.{built.kind.__name__.lower()}" if path in folders else path
        name, number = base, 0
        while name in taken or name in folders:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names.append(name)
    return names


def _wanted(operation: Operation, built: Built, recorded: Recorded) -> str:
    kind = built.kind.__name__
    parts = [safe_name(part) for part in operation.place.split("/") if part]
    if parts:
        own = re.sub(r"_\d+$", "", parts[-1]) == kind
        return ".".join(parts if own else [*parts, kind.lower()])
    parameter = next((recorded.constants[value].origin for value in built.weights.values() if recorded.constants[value].origin), "")
    return ".".join(safe_name(part) for part in _stem(parameter).split(".") if part) or kind.lower()


def _stem(parameter: str) -> str:
    """``conv2d_0.w_0`` and ``conv2d_0.weight`` are of ``conv2d_0``; ``conv1_weights`` is of ``conv1``."""
    if "." in parameter:
        return parameter.rpartition(".")[0]
    return re.sub(r"_?(weights?|w|scale|offset|bias|b)(_\d+)?$", "", parameter) or parameter


def safe_name(name: str) -> str:
    """A name that a layer may give to what it holds."""
    plain = re.sub(r"\W", "_", name)
    return f"{plain}_" if hasattr(nn.Layer, plain) or plain in ("training", "input_spec") else plain
