"""A user's functions: rounded by them in training, made grids at conversion, refused before training where that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.quantization.base_quanter import BaseQuanter
from training_cases import Small, batch, decibels, sgd, step

from ptq.qat import QATConfig, convert, joint_optimizer, prepare
from ptq.training.functions import JointOptimizer
from ptq.training.grids.functions import measured_grid, measured_weight_grid
from quantizers import QParams
from quantizers.errors import ConfigError


class ClippedRounding(nn.Layer):
    """Rounds to 8 bits in a range that is a parameter, with a straight-through gradient of plain operations."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = self.create_parameter([], default_initializer=nn.initializer.Constant(3.0))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        clipped = paddle.minimum(paddle.maximum(x, -self.limit), self.limit)
        scale = self.limit.detach() / 127
        return clipped + (paddle.round(clipped / scale) * scale - clipped).detach()


def weight_rounding(weight: paddle.Tensor) -> paddle.Tensor:
    scale = weight.detach().abs().max() / 127
    return weight + (paddle.round(weight / scale) * scale - weight).detach()


def ternary(weight: paddle.Tensor) -> paddle.Tensor:
    """-a, 0 or a: two bits."""
    size = weight.detach().abs().mean()
    rounded = paddle.sign(weight) * (weight.abs() > 0.7 * size).astype("float32") * size
    return weight + (rounded - weight).detach()


class Standardized(nn.Layer):
    """A weight of mean 0 and a learned size."""

    def __init__(self) -> None:
        super().__init__()
        self.size = self.create_parameter([], default_initializer=nn.initializer.Constant(0.2))

    def forward(self, weight: paddle.Tensor) -> paddle.Tensor:
        return (weight - weight.mean()) / (weight.std() + 1e-5) * self.size


class ClippedInput(nn.Layer):
    """PACT as PaddleSlim's guide writes it, before the rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = self.create_parameter([], default_initializer=nn.initializer.Constant(2.0))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return x - paddle.nn.functional.relu(x - self.alpha) + paddle.nn.functional.relu(-x - self.alpha)


class Quanter(BaseQuanter):
    """Says what its grid is."""

    def __init__(self, layer: Any = None, bit_length: int = 8) -> None:
        del layer
        super().__init__()
        self.bits = bit_length
        self.register_buffer("scale", paddle.to_tensor(2.5))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        step_size = self.scale / (2 ** (self.bits - 1) - 1)
        clipped = paddle.clip(x, -2.5, 2.5)
        return clipped + (paddle.round(clipped / step_size) * step_size - clipped).detach()

    def scales(self) -> paddle.Tensor:
        return self.scale

    def zero_points(self) -> None:
        return None

    def quant_axis(self) -> int:
        return -1

    def bit_length(self) -> int:
        return self.bits


CASES: list[dict[str, Any]] = [
    {"act_quantize_func": ClippedRounding},
    {"act_quantize_func": ClippedRounding()},
    {"act_quantize_func": Quanter},
    {"weight_quantize_func": weight_rounding},
    {"weight_quantize_func": ternary, "weight_bits": 2},
    {"weight_preprocess_func": Standardized},
    {"weight_preprocess_func": lambda weight: weight - weight.mean()},
    {"act_preprocess_func": ClippedInput},
    {"act_preprocess_func": lambda x: paddle.clip(x, -1.0, 1.0)},
    {"act_quantize_func": ClippedRounding, "weight_quantize_func": weight_rounding, "act_preprocess_func": ClippedInput},
]


@pytest.mark.parametrize(
    "functions", CASES, ids=lambda case: ",".join(f"{k}={getattr(v, '__name__', type(v).__name__)}" for k, v in case.items())
)
@pytest.mark.parametrize("fuse", ["convert", "training"])
def test_functions_of_each_kind_train_and_convert(functions: dict[str, Any], fuse: str) -> None:
    x, y = batch()
    net = Small()
    net.train()
    model = prepare(net, QATConfig(fuse=fuse, **functions), data=[x])
    optimizer = sgd(model)
    for _ in range(3):
        step(model, optimizer, x, y)
    model.eval()
    with paddle.no_grad():
        assert decibels(convert(model)(x), model(x)) >= 35


def test_their_parameters_are_trained_by_their_own_optimizer() -> None:
    x, y = batch()
    seen: list[list[paddle.Tensor]] = []

    def own(parameters: list[paddle.Tensor]) -> Any:
        seen.append(parameters)
        return paddle.optimizer.SGD(0.5, parameters=parameters)

    model = prepare(Small(), QATConfig(act_preprocess_func=ClippedInput, optimizer_func=own), data=[x])
    model.train()
    optimizer = joint_optimizer(model, lambda parameters: paddle.optimizer.Momentum(0.0, parameters=parameters))
    assert isinstance(optimizer, JointOptimizer)
    alpha, weight = model.c1.input_preprocess.alpha, model.c1._parameters["weight"]
    before = float(alpha), weight.numpy().copy()
    step(model, optimizer, x, y)
    assert float(alpha) != before[0]
    assert np.array_equal(weight.numpy(), before[1])
    assert len(seen[0]) == 4
    state = optimizer.state_dict()
    optimizer.set_state_dict(state)
    assert optimizer.get_lr() == 0.0


def test_an_optimizer_func_without_arguments_as_for_paddleslim() -> None:
    x, y = batch()
    config = QATConfig(act_preprocess_func=ClippedInput, optimizer_func=lambda: paddle.optimizer.Momentum(0.1, 0.9))
    model = prepare(Small(), config, data=[x])
    model.train()
    optimizer = joint_optimizer(model, lambda parameters: paddle.optimizer.SGD(0.0, parameters=parameters))
    before = float(model.c1.input_preprocess.alpha)
    step(model, optimizer, x, y)
    assert float(model.c1.input_preprocess.alpha) != before
    assert paddle.in_dynamic_mode()
    plain = prepare(Small(), QATConfig(), data=[x])
    assert isinstance(joint_optimizer(plain, lambda parameters: paddle.optimizer.SGD(0.1, parameters=parameters)), paddle.optimizer.SGD)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"act_quantize_func": lambda x: paddle.round(x / x.abs().max() * 127) * x.abs().max() / 127}, "no range of its own"),
        ({"act_quantize_func": paddle.tanh}, "not evenly spaced"),
        ({"act_quantize_func": lambda x: paddle.clip(paddle.round(x * 64), 1, 200) / 64}, "zero"),
        ({"weight_quantize_func": lambda w: w * 1.0}, "no symmetric grid of 8 bits"),
        ({"weight_preprocess_func": lambda w: w.flatten()}, "weight_preprocess_func makes"),
        ({"weight_quantize_func": 3}, "weight_quantize_func must be a layer"),
    ],
)
def test_what_has_no_grid_is_refused_before_training(functions: dict[str, Any], message: str) -> None:
    x, _ = batch()
    with pytest.raises(ConfigError, match=message):
        prepare(Small(), QATConfig(**functions), data=[x])


@pytest.mark.parametrize(
    "grid",
    [
        QParams.symmetric(1.7, num_bits=8),
        QParams.symmetric(2.5, num_bits=4),
        QParams.symmetric(3.1, signed=False),
        QParams.asymmetric(-0.4, 2.0),
        QParams.asymmetric(-0.4, 2.0, num_bits=4),
    ],
)
def test_a_grid_is_measured_off_what_rounds_to_it(grid: QParams) -> None:
    found = measured_grid(lambda values: np.asarray(grid.fake_quantize(values), dtype=np.float64), 8, "here")
    assert (found.num_bits, found.zero_point - found.quant_min) == (grid.num_bits, grid.zero_point - grid.quant_min)
    assert float(found.scale) == pytest.approx(float(grid.scale), rel=1e-5)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_a_weights_grid_is_measured_off_the_weight(axis: int | None) -> None:
    weight = np.random.default_rng(0).standard_normal((6, 5, 3)).astype(np.float32)
    threshold: Any = 2.0 if axis is None else np.abs(weight).max(axis=tuple(i for i in range(3) if i != axis))
    grid = QParams.symmetric(threshold, quant_axis=axis, narrow_range=True)
    rounded = np.asarray(grid.fake_quantize(weight), dtype=np.float64)
    found = measured_weight_grid(rounded, 8, axis or 0, "here")
    assert np.allclose(found.fake_quantize(rounded), rounded, rtol=1e-5)
    assert (found.quant_axis is None) == (axis is None)
