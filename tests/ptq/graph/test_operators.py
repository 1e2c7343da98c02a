"""The table of operators says what Paddle's operators do: each fact is held against what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from models import Net, data
from paddle import _C_ops, nn
from paddle.static import InputSpec

from ptq.graph.operators import OPERATORS, Cost, Keeps, Moves, names_of, operator_of, plain_name
from ptq.graph.tracing import trace
from ptq.placement.targets import ANY, TARGETS

SPEC = [InputSpec([2, 4, 6, 6], "float32")]
# Operators of one input, as a model computes them on [2, 4, 6, 6].
UNARY: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(F, name) for name in ("relu", "relu6", "sigmoid", "leaky_relu", "swish", "silu", "gelu", "tanh", "elu")},
    **{name: getattr(F, name) for name in ("hardswish", "hardsigmoid", "mish", "softplus", "hardtanh", "softmax")},
    **{name: getattr(paddle, name) for name in ("abs", "square", "exp", "sqrt", "rsqrt")},
    "clip": lambda x: paddle.clip(x, -0.5, 0.5),
    "pow": lambda x: paddle.pow(x, 3.0),
    "scale": lambda x: paddle.scale(x, 2.0, 1.0),
    "mean": lambda x: paddle.mean(x, axis=1),
    "reshape": lambda x: paddle.reshape(x, [2, 4, 36]),
    "transpose": lambda x: paddle.transpose(x, [0, 2, 3, 1]),
    "flatten": lambda x: paddle.flatten(x, 1),
    "squeeze": lambda x: paddle.squeeze(x[:, :1], 1),
    "unsqueeze": lambda x: paddle.unsqueeze(x, 1),
    "slice": lambda x: paddle.slice(x, [1], [1], [3]),
    "strided_slice": lambda x: paddle.strided_slice(x, [2], [0], [6], [2]),
    "split_with_num": lambda x: paddle.split(x, 2, axis=1)[1],
    "split": lambda x: paddle.split(x, [1, 3], axis=1)[1],
    "assign": paddle.assign,
    "expand": lambda x: paddle.expand(x, [3, 2, 4, 6, 6]),
    "tile": lambda x: paddle.tile(x, [1, 1, 2, 1]),
    "gather": lambda x: paddle.gather(x, paddle.to_tensor([1, 0, 1]), axis=1),
    "gather_nd": lambda x: paddle.gather_nd(x, paddle.to_tensor([[1, 0], [0, 1]])),
    "index_select": lambda x: paddle.index_select(x, paddle.to_tensor([1, 0]), axis=1),
    "flip": lambda x: paddle.flip(x, [1]),
    "roll": lambda x: paddle.roll(x, 1, 2),
    "unbind": lambda x: paddle.unbind(x, 1)[1],
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "nearest_interp": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "max_pool2d_with_index": lambda x: F.max_pool2d(x, 2, return_mask=True)[0],
    "pool2d": lambda x: F.avg_pool2d(x, 2),
    "pad3d": lambda x: F.pad(x, [1, 1, 1, 1]),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    name: getattr(paddle, name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")
}
NOT_COMPUTED = {"prelu": "has a weight", "share_data": "no public function", "view_shape": "no public function"}
NOT_COMPUTED |= {"max_pool3d_with_index": "as the one of two dimensions", "pool3d": "as the one of two dimensions"}


def _x(seed: int = 0) -> paddle.Tensor:
    return data(2, 4, 6, 6, seed=seed) * 2.0


@pytest.mark.parametrize("name", UNARY)
def test_the_model_computes_the_operator_that_it_is_named_after(name: str) -> None:
    graph = trace(Net(lambda _, x: UNARY[name](x)), SPEC)
    assert name in {op.plain_name for op in graph.ops}


def test_every_fact_on_values_is_held_against_values() -> None:
    facts = names_of(lambda o: o.nonnegative or o.elementwise or o.moves is Moves.ALWAYS)
    assert facts <= {*UNARY, *BINARY, *NOT_COMPUTED}


@pytest.mark.parametrize("name", UNARY)
def test_what_is_never_negative(name: str) -> None:
    operator, positive = operator_of(name), paddle.abs(_x())
    if operator.nonnegative:
        assert float(UNARY[name](_x()).min()) >= 0
    if operator.keeps_nonnegative is not Keeps.NOTHING:
        assert float(UNARY[name](positive).min()) >= 0
        assert float(UNARY[name](-positive).min()) < 0


@pytest.mark.parametrize("name", UNARY)
def test_what_moves_elements_makes_none(name: str) -> None:
    x = _x()
    is_moved = set(UNARY[name](x).numpy().ravel().tolist()) <= {*x.numpy().ravel().tolist(), 0.0}
    assert is_moved == (operator_of(name).moves in (Moves.ALWAYS, Moves.WITH_ZEROS) or name == "relu")


@pytest.mark.parametrize("name", UNARY)
def test_what_is_elementwise_commutes_with_a_shuffle(name: str) -> None:
    x, order = paddle.abs(_x()).numpy(), np.random.default_rng(0).permutation(2 * 4 * 6 * 6)
    plain, shuffled = (UNARY[name](paddle.to_tensor(item)).numpy() for item in (x, x.ravel()[order].reshape(x.shape)))
    commutes = plain.shape == x.shape and np.allclose(plain.ravel()[order], shuffled.ravel(), atol=1e-6)
    assert commutes == (operator_of(name).elementwise or name == "assign")


@pytest.mark.parametrize("name", BINARY)
def test_operators_of_two(name: str) -> None:
    a, b, operator = _x(), _x(seed=1), operator_of(name)
    shuffled = BINARY[name](paddle.flip(a, [3]), paddle.flip(b, [3]))
    assert operator.elementwise == np.array_equal(paddle.flip(shuffled, [3]).numpy(), BINARY[name](a, b).numpy())
    if operator.keeps_nonnegative is Keeps.ALL:
        assert float(BINARY[name](paddle.abs(a), paddle.abs(b)).min()) >= 0


@pytest.mark.parametrize("name", sorted(names_of(lambda o: o.saturates)))
def test_bounds_beyond_which_inputs_make_no_difference(name: str) -> None:
    graph = trace(Net(lambda _, x: UNARY[name](x)), SPEC)
    low, high = next(op.saturates for op in graph.ops if op.plain_name == name) or (0.0, 0.0)
    points = [low - 5.0, low, *([] if high == float("inf") else [high, high + 5.0])]
    answers = UNARY[name](paddle.to_tensor(points)).numpy()
    assert np.allclose(answers[0::2], answers[1::2], atol=1e-6)
    inside = UNARY[name](paddle.to_tensor([low + 0.5, low])).numpy()
    assert abs(float(inside[0] - inside[1])) > 1e-3


@pytest.mark.parametrize("name", sorted(names_of(lambda o: o.is_seen)))
def test_what_is_seen_is_an_entry_point_of_paddle(name: str) -> None:
    assert hasattr(_C_ops, name)


@pytest.mark.parametrize("name", sorted(names_of(lambda o: o.symbols)))
def test_the_methods_behind_pythons_operators(name: str) -> None:
    square = data(3, 3) + 3.0
    for symbol in operator_of(name).symbols:
        is_reflected = symbol.startswith("__r")
        expected = BINARY.get(name, getattr(paddle, name))(*((square * 2.0, square) if is_reflected else (square, square * 2.0)))
        assert np.allclose(getattr(square, symbol)(square * 2.0).numpy(), expected.numpy(), rtol=1e-5), symbol


def test_a_name_is_the_same_in_every_form() -> None:
    assert [plain_name(name) for name in ("pd_op.add", "pd_op.add_", "add", "builtin.combine")] == ["add", "add", "add", "combine"]
    assert operator_of("pd_op.relu_") is operator_of("relu") is OPERATORS["relu"]
    assert operator_of("pd_op.nobody_knows") == operator_of("")


def test_random_operators_are_random() -> None:
    assert operator_of("pd_op.uniform_inplace_").is_random
    assert operator_of("pd_op.gaussian").is_random
    graph = trace(Net(lambda _, x: x + paddle.rand([2, 4, 6, 6])), SPEC)
    assert [op.plain_name for op in graph.ops if op.facts.is_random] == ["uniform"]


def test_a_target_speaks_of_operators_that_the_table_knows() -> None:
    for target in TARGETS.values():
        assert target.results <= target.operands
        assert target.merged <= target.kernels
        known = target.operands | target.merged | target.kernels
        assert all(OPERATORS[name].is_seen for name in known), "a grid can only be put on what is seen"
        assert not {name for name in target.results if operator_of(name).cost is not Cost.NOTHING}
    assert TARGETS["any"] is ANY
    assert issubclass(nn.Conv2D, ANY.convolutions)
