"""Models saved by `paddle.jit.save` for the tests of the Paddle Inference exporter, with grids placed by hand, and ways to run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

from ptq.export.inference.artifact import write_inference
from ptq.export.inference.onednn_verbose import run_verbose
from ptq.layers import fake_quantize

__all__ = ["Grid", "HandQuantized", "Wrapped", "answers", "exported", "native", "saved"]


class Grid(nn.Layer):
    """One activation grid of the unsigned form: integers 0 to 255."""

    def __init__(self, scale: float, zero_point: int) -> None:
        super().__init__()
        self.register_buffer("scale", paddle.to_tensor(np.float32(scale)))
        self.register_buffer("zero_point", paddle.to_tensor(np.float32(zero_point)))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return fake_quantize(x, self.scale, self.zero_point, 0, 255)


class HandQuantized(nn.Layer):
    """Grid, int8 convolution, ReLU where the zero point allows it, grid, int8 linear layer on the mean, grid.

    With weights of at most 63 (``largest``) the sums of two products fit 16 bits, so that processors without VNNI are right too.
    """

    def __init__(self, zero_point: int, channels: int = 16, largest: int = 127) -> None:
        super().__init__()
        random = np.random.default_rng(zero_point)
        self.rectified = zero_point == 0
        self.register_buffer("kernel", paddle.to_tensor(random.integers(-largest, largest + 1, (channels, 3, 3, 3)).astype("int8")))
        self.register_buffer("kernel_scale", paddle.to_tensor(random.uniform(1e-3, 1e-2, (channels, 1, 1, 1)).astype("float32")))
        self.register_buffer("matrix", paddle.to_tensor(random.integers(-largest, largest + 1, (channels, 10)).astype("int8")))
        self.register_buffer("matrix_scale", paddle.to_tensor(random.uniform(1e-3, 1e-2, (1, 10)).astype("float32")))
        self.bias = self.create_parameter([channels], default_initializer=nn.initializer.Normal())
        self.first, self.second, self.last = Grid(0.03, zero_point), Grid(0.05, zero_point), Grid(0.07, 101)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = nn.functional.conv2d(self.first(x), self.kernel.astype("float32") * self.kernel_scale, padding=1)
        x = x + self.bias.reshape([1, -1, 1, 1])
        x = self.second(nn.functional.relu(x) if self.rectified else x)
        return self.last(x.max([2, 3]) @ (self.matrix.astype("float32") * self.matrix_scale))


class Wrapped(nn.Layer):
    """A function of a tensor as a model; Paddle writes no file of parameters where there is none."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.one = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))

    def forward(self, x: paddle.Tensor) -> Any:
        return self.function(x * self.one)


def saved(model: nn.Layer, prefix: Path, *inputs: paddle.Tensor, free: int = 1) -> list[np.ndarray]:
    """Saves the portable program, its first ``free`` dimensions free, and returns the model's answers."""
    model.eval()
    spec = [InputSpec([None] * free + list(x.shape[free:]), x.dtype) for x in inputs]
    paddle.jit.save(model, str(prefix), input_spec=spec)
    with paddle.no_grad():
        return [y.numpy() for y in paddle.utils.flatten(model(*inputs))]


def exported(model: nn.Layer, prefix: Path, *inputs: paddle.Tensor, free: int = 1) -> list[np.ndarray]:
    """The same, and the Paddle Inference files beside it."""
    expected = saved(model, prefix, *inputs, free=free)
    write_inference(str(prefix), str(prefix))
    return expected


def answers(prefix: Path, inputs: Sequence[paddle.Tensor]) -> list[np.ndarray]:
    """What the OpenVINO engine answers."""
    return run_verbose(str(prefix), [x.numpy() for x in inputs])


def native(prefix: Path, x: paddle.Tensor) -> np.ndarray:
    """What Paddle's own kernels make of the exported files."""
    from paddle import inference

    config = inference.Config(f"{prefix}.infer.pdmodel", f"{prefix}.infer.pdiparams")
    config.disable_glog_info()
    config.switch_ir_optim(False)
    predictor = inference.create_predictor(config)
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(x.numpy())
    predictor.run()
    return np.asarray(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
