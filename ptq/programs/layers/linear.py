"""Products with a parameter, and tables looked up by number."""

from __future__ import annotations

from collections.abc import Callable

from paddle import nn

from ..records import Operation, Recorded
from .built import Built, known, zeros

__all__ = ["LAYERS"]


def _linear(operation: Operation, recorded: Recorded) -> Built | None:
    weights = known(recorded, {"weight": operation.inputs["weight"], "bias": operation.inputs["bias"]})
    if weights is None:
        return None
    rows, columns = recorded.shapes[weights["weight"]]
    arguments = {"in_features": rows, "out_features": columns, "weight_attr": zeros(), "bias_attr": zeros("bias" in weights)}
    return Built(nn.Linear, arguments, (operation.operand("x"),), weights)


def _embedding(operation: Operation, recorded: Recorded) -> Built | None:
    weights = known(recorded, {"weight": operation.inputs["weight"]})
    if weights is None:
        return None
    rows, columns = recorded.shapes[weights["weight"]]
    index = int(operation.attrs["padding_idx"])
    arguments = {"num_embeddings": rows, "embedding_dim": columns, "padding_idx": None if index == -1 else index, "weight_attr": zeros()}
    return Built(nn.Embedding, arguments, (operation.operand("x"),), weights)


LAYERS: dict[str, Callable[[Operation, Recorded], Built | None]] = {"linear": _linear, "embedding": _embedding}
