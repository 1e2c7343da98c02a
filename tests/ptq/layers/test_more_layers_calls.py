"""Models that take and give more than one tensor: calibrated, converted, saved, loaded."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import data, relative
from paddle import nn
from reloading import tensors

import ptq
from ptq import ImperativePTQ, PTQConfig
from ptq.calibration.seen import free_batch
from ptq.layers import QuantizedLayer
from ptq.util.nests import map_tensors
from quantizers import AbsmaxQuantizer


class _Base(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)


class Several(_Base):
    """Two tensors in, two out."""

    def forward(self, x: Any, y: Any) -> Any:
        return self.a(x), self.b(y) + x


class Dict(_Base):
    """A dict in and out."""

    def forward(self, batch: Any) -> Any:
        hidden = self.a(batch["x"])
        return {"hidden": hidden, "logits": self.b(hidden + batch["y"])}


class Nested(_Base):
    """Tuples within lists, in and out."""

    def forward(self, pair: Any) -> Any:
        x, (y, z) = pair
        return [self.a(x), (self.b(y), z * 2)]


class Optional(_Base):
    """An argument that may be missing."""

    def forward(self, x: Any, mask: Any = None) -> Any:
        x = self.a(x)
        if mask is not None:
            x = x * mask
        return self.b(x)


class Settings(_Base):
    """Numbers, a string and a flag, which are part of the program."""

    def forward(self, x: Any, times: int = 1, mode: str = "relu", flip: bool = False) -> Any:
        for _ in range(times):
            x = self.a(x)
        x = nn.functional.relu(x) if mode == "relu" else paddle.tanh(x)
        return self.b(x.flip(axis=1) if flip else x)


class Ids(_Base):
    """Tensors of other types: ids, a mask of truths."""

    def __init__(self) -> None:
        super().__init__()
        self.tok = nn.Embedding(9, 6)

    def forward(self, ids: Any, keep: Any) -> Any:
        x = self.b(self.a(self.tok(ids)) * keep.unsqueeze(-1).astype("float32"))
        return x, x.argmax(axis=-1)


X, Y = data(4, 6), data(4, 6, seed=1)
TOKENS, KEEP = paddle.to_tensor([[1, 2, 3], [4, 0, 8]]), paddle.to_tensor([[True, False, True], [True, True, True]])
CALLS: dict[str, tuple[type[nn.Layer], tuple[Any, ...], dict[str, Any]]] = {
    "two tensors": (Several, (X, Y), {}),
    "two tensors by keyword": (Several, (), {"y": Y, "x": X}),
    "one by place, one by keyword": (Several, (X,), {"y": Y}),
    "dict": (Dict, ({"x": X, "y": Y},), {}),
    "dict by keyword": (Dict, (), {"batch": {"x": X, "y": Y}}),
    "nested": (Nested, ((X, (Y, X)),), {}),
    "optional left out": (Optional, (X,), {}),
    "optional None": (Optional, (X, None), {}),
    "optional given": (Optional, (X,), {"mask": Y}),
    "settings": (Settings, (X, 2, "tanh", True), {}),
    "settings by keyword": (Settings, (X,), {"times": 2, "flip": True}),
    "ids and truths": (Ids, (TOKENS, KEEP), {}),
}


@pytest.mark.parametrize("placement", ["compute", "full"])
@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str, placement: str, tmp_path: Path) -> None:
    kind, args, kwargs = CALLS[name]
    model, quantized = _quantized(name, placement)
    assert all(isinstance(layer, QuantizedLayer) for layer in (quantized.a, quantized.b))
    answer, expected = quantized(*args, **kwargs), model(*args, **kwargs)
    assert _shape(answer) == _shape(expected)
    for a, b in zip(tensors(answer), tensors(expected), strict=True):
        assert a.dtype == b.dtype
        assert not a.is_floating_point() or relative(a, b) < 0.05
    given = _in_order(kind, args, kwargs)
    paddle.jit.save(quantized, str(tmp_path / "model"), input_spec=map_tensors(free_batch, given))
    _check(paddle.jit.load(str(tmp_path / "model")), given, answer)


def test_calls_are_saved_as_calibration_saw_them(tmp_path: Path) -> None:
    kind, args, kwargs = CALLS["dict by keyword"]
    _, quantized = _quantized("dict by keyword", "full")
    ImperativePTQ().save_quantized_model(quantized, str(tmp_path / "model"))
    _check(ptq.load(str(tmp_path / "model")), _in_order(kind, args, kwargs), quantized(*args, **kwargs))


def _quantized(name: str, placement: str) -> tuple[nn.Layer, nn.Layer]:
    kind, args, kwargs = CALLS[name]
    paddle.seed(0)
    model = kind()
    model.eval()
    engine = ImperativePTQ(PTQConfig(AbsmaxQuantizer(), placement=placement))
    prepared = engine.quantize(model)
    prepared(*args, **kwargs)
    return model, engine.convert(prepared)


def _check(loaded: Any, given: list[Any], expected: Any) -> None:
    """A saved program takes its tensors one after the other."""
    loaded.eval()
    for a, b in zip(tensors(loaded(*tensors(given))), tensors(expected), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def _shape(nest: Any) -> Any:
    """The containers of an answer, without what they hold."""
    if isinstance(nest, dict):
        return {key: _shape(value) for key, value in nest.items()}
    return [_shape(item) for item in nest] if isinstance(nest, (list, tuple)) else "tensor"


def _in_order(kind: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments in the order of ``forward``'s parameters, with their defaults."""
    bound = inspect.signature(kind.forward).bind(None, *args, **kwargs)
    bound.apply_defaults()
    return list(bound.args[1:])
