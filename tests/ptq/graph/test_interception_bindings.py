"""Operations that a user's module bound under names of its own are seen, or it is said by name that they are not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import paddle
import pytest
from models import Net, calibrated, data
from paddle import _C_ops, nn
from paddle import where as bound_where
from paddle.linalg import matmul as bound_linalg_matmul
from paddle.nn.functional.activation import gelu as bound_gelu
from paddle.nn.functional.activation import sigmoid as bound_activation_sigmoid
from paddle.nn.functional.activation import softplus as bound_softplus
from paddle.nn.functional.activation import tanh as bound_activation_tanh
from paddle.tensor import abs as bound_abs
from paddle.tensor import bmm as bound_bmm
from paddle.tensor import exp as bound_exp
from paddle.tensor import matmul as bound_matmul
from paddle.tensor import maximum as bound_maximum
from paddle.tensor import minimum as bound_minimum
from paddle.tensor import multiply as bound_multiply
from paddle.tensor import rsqrt as bound_rsqrt
from paddle.tensor import sigmoid as bound_sigmoid
from paddle.tensor import sqrt as bound_sqrt
from paddle.tensor import tanh as bound_tanh

from ptq import PTQConfig
from ptq.graph import interception
from ptq.layers.gridded import grids_of
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import QuantizationError, QuantizationWarning

UNSEEN = "what a module bound under a name of its own before a forward runs is never seen, and its grid is lost without a word"

# How a user's module may hold an operation, and the same operation as it is seen.
BINDINGS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "paddle.where": (lambda x: bound_where(x > 0, x, x * 0.5), lambda x: paddle.where(x > 0, x, x * 0.5)),
    "paddle.linalg.matmul": (lambda x: bound_linalg_matmul(x, x), lambda x: paddle.matmul(x, x)),
    "paddle.tensor.matmul": (lambda x: bound_matmul(x, x), lambda x: paddle.matmul(x, x)),
    "paddle.tensor.bmm": (lambda x: bound_bmm(x, x), lambda x: paddle.bmm(x, x)),
    "paddle.tensor.multiply": (lambda x: bound_multiply(x, x), lambda x: paddle.multiply(x, x)),
    "paddle.tensor.maximum": (lambda x: bound_maximum(x, -x), lambda x: paddle.maximum(x, -x)),
    "paddle.tensor.minimum": (lambda x: bound_minimum(x, -x), lambda x: paddle.minimum(x, -x)),
    "paddle.tensor.abs": (lambda x: bound_abs(x), lambda x: paddle.abs(x)),
    "paddle.tensor.exp": (lambda x: bound_exp(x), lambda x: paddle.exp(x)),
    "paddle.tensor.sqrt": (lambda x: bound_sqrt(paddle.abs(x)), lambda x: paddle.sqrt(paddle.abs(x))),
    "paddle.tensor.rsqrt": (lambda x: bound_rsqrt(paddle.abs(x) + 1.0), lambda x: paddle.rsqrt(paddle.abs(x) + 1.0)),
    "paddle.tensor.sigmoid": (lambda x: bound_sigmoid(x), lambda x: nn.functional.sigmoid(x)),
    "paddle.tensor.tanh": (lambda x: bound_tanh(x), lambda x: paddle.tanh(x)),
    "paddle.nn.functional.activation.gelu": (lambda x: bound_gelu(x, False), lambda x: nn.functional.gelu(x)),
    "paddle.nn.functional.activation.sigmoid": (lambda x: bound_activation_sigmoid(x), lambda x: nn.functional.sigmoid(x)),
    "paddle.nn.functional.activation.tanh": (lambda x: bound_activation_tanh(x), lambda x: nn.functional.tanh(x)),
    "paddle.nn.functional.activation.softplus": (lambda x: bound_softplus(x), lambda x: nn.functional.softplus(x)),
}


def fed(operation: Callable[..., Any], placement: str = "full") -> tuple[set[str], list[str]]:
    """The sites that saw data once a net with the operation in it was calibrated, and what was warned of."""
    paddle.seed(0)
    model = Net(lambda m, x: m.last(operation(m.first(x))), first=nn.Linear(4, 4), last=nn.Linear(4, 4))
    config = PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(), placement=placement)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepared = calibrated(model, data(2, 4, 4), config=config)
    sites = {site for site, grid in grids_of(prepared).items() if grid._quant_config.in_act_quantizer.sampled}
    return sites, [str(item.message) for item in caught if issubclass(item.category, QuantizationWarning)]


@pytest.mark.parametrize("name", BINDINGS)
@pytest.mark.xfail(strict=True, reason=UNSEEN)
def test_a_name_that_was_bound_before_is_seen_or_told_of(name: str) -> None:
    bound, seen = BINDINGS[name]
    expected, _ = fed(seen)
    found, warned = fed(bound)
    missing = {site.split("#")[0] for site in expected - found}
    assert all(any(operation in text for text in warned) for operation in missing), f"lost: {sorted(expected - found)}"


@pytest.mark.xfail(strict=True, reason="what was patched before an entry point failed stays patched")
def test_a_patch_that_fails_half_way_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    points = interception._entry_points()
    before = [vars(owner)[name] for owner, name, _ in points]
    broken = (*points[: len(points) // 2], (paddle, "no such name", lambda original: original), *points[len(points) // 2 :])
    try:
        with monkeypatch.context() as patch:
            patch.setattr(interception, "_entry_points", lambda: broken)
            with pytest.raises((KeyError, AttributeError, QuantizationError)), interception.intercept(nn.Linear(2, 2), None):  # type: ignore[arg-type]
                pass
        assert all(vars(owner)[name] is original for (owner, name, _), original in zip(points, before, strict=True))
        assert callable(_C_ops.relu)
    finally:  # whatever became of it, the tests that follow get Paddle as it was
        interception._originals.clear()
        for (owner, name, _), original in zip(points, before, strict=True):
            setattr(owner, name, original)
