"""What plain Paddle makes of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec


def specs_of(*args: Any) -> list[Any]:
    """The specs of tensors, their first dimension free; anything else as it is."""
    return [InputSpec([None, *arg.shape[1:]], arg.dtype) if isinstance(arg, paddle.Tensor) else arg for arg in args]


def tensors(nest: Any) -> list[paddle.Tensor]:
    """All tensors in an answer, in order."""
    return [item for item in paddle.utils.flatten(nest) if isinstance(item, paddle.Tensor)]


def reload_gap(model: nn.Layer, folder: Path, *args: Any) -> float:
    """Largest difference between the answers of a model and of what `paddle.jit.save` and `paddle.jit.load` make of it."""
    paddle.jit.save(model, str(folder / "model"), input_spec=specs_of(*args))
    loaded = paddle.jit.load(str(folder / "model"))
    loaded.eval()
    with paddle.no_grad():
        expected, answer = tensors(model(*args)), tensors(loaded(*args))
    assert [tensor.shape for tensor in answer] == [tensor.shape for tensor in expected]
    return max(float(np.abs(a.numpy() - b.numpy()).max()) for a, b in zip(answer, expected, strict=True))


def saved_bytes(folder: Path) -> int:
    """Size of the parameters that `reload_gap` saved."""
    return (folder / "model.pdiparams").stat().st_size
