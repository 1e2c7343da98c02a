"""One tiny net for each operator that programs may hold: a function of tensors, and its inputs.

Run as a program it saves them all in the legacy format, which needs a process with Paddle's new representation switched off:

    FLAGS_enable_pir_api=0 python operator_cases.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn
from paddle.static import InputSpec
from paddle.vision import ops

__all__ = ["CASES", "Case", "Net", "arrays", "save", "specs"]


@dataclass(frozen=True)
class Case:
    """A net of one operator.

    Attributes:
        operator: what the saved program must hold.
        function: of the tensors.
        inputs: shapes of float32 inputs, or arrays.
        layer: makes the layer that ``function`` gets first.
        dynamic: which axes of the first input are saved as free.
        legacy: whether Paddle can save it in the legacy format.
    """

    operator: str
    function: Callable[..., Any]
    inputs: Sequence[Any] = ((2, 3, 4),)
    layer: Callable[[], nn.Layer] | None = None
    dynamic: tuple[int, ...] = (0,)
    legacy: bool = True


class Net(nn.Layer):
    """Runs the function of a case."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.inner = case.layer() if case.layer is not None else None

    def forward(self, x: paddle.Tensor, y: paddle.Tensor | None = None, z: paddle.Tensor | None = None) -> Any:
        tensors = [tensor for tensor in (x, y, z) if tensor is not None]
        return self.case.function(*((self.inner,) if self.inner is not None else ()), *tensors)


def arrays(case: Case) -> list[np.ndarray]:
    """The inputs."""
    rng = np.random.default_rng(0)
    return [item if isinstance(item, np.ndarray) else rng.standard_normal(item).astype("float32") for item in case.inputs]


def specs(case: Case) -> list[InputSpec]:
    """What the net is saved with."""
    shapes = [list(array.shape) for array in arrays(case)]
    for axis in case.dynamic:
        shapes[0][axis] = None
    return [InputSpec(shape, str(a.dtype), f"x{i}") for i, (shape, a) in enumerate(zip(shapes, arrays(case), strict=True))]


def save(name: str, folder: Path) -> None:
    """Saves one case with weights that depend on its name only."""
    paddle.seed(7)
    net = Net(CASES[name])
    net.eval()
    paddle.jit.save(net, str(folder / name), input_spec=specs(CASES[name]))


IMAGE = (2, 4, 6, 8)
IDS = np.array([[1, 2, 0], [3, 1, 1]], "int64")
POSITIVE = (np.random.default_rng(1).random((2, 3, 4)) + 0.5).astype("float32")
MASK = np.array([[[True, False, True, True]] * 3] * 2)
BOXES = np.array([[0, 0, 4, 4], [1, 1, 6, 5]], "float32")


def _state_free(layer: nn.Layer, x: Any) -> Any:
    return layer(x)[0]


def _set_value(x: Any) -> Any:
    y = x + 0.0
    y[:, 0] = 2.0
    return y


def _set_tensor(x: Any, v: Any) -> Any:
    y = x + 0.0
    y[:, 1] = v
    return y


class _Affine(nn.Layer):
    """A parameter of a given shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.weight = self.create_parameter(list(shape), default_initializer=nn.initializer.Normal())


def _unary(*names: str, inputs: Sequence[Any] = ((2, 3, 4),), module: Any = paddle) -> dict[str, Case]:
    def of(name: str) -> Callable[[Any], Any]:
        return lambda x: getattr(module, name)(x)

    return {name: Case(name, of(name), inputs) for name in names}


def _binary(*names: str, inputs: Sequence[Any] = ((2, 3, 4), (2, 3, 4))) -> dict[str, Case]:
    def of(name: str) -> Callable[[Any, Any], Any]:
        return lambda x, y: getattr(paddle, name)(x, y)

    return {name: Case(name, of(name), inputs) for name in names}


CASES: dict[str, Case] = {
    **_unary("abs", "exp", "floor", "ceil", "tanh", "sin", "cos", "square", "sign", "erf", "isnan", "isfinite"),
    **_unary("sqrt", "rsqrt", "log", "log2", "log1p", "reciprocal", inputs=(POSITIVE,)),
    **_unary("relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "swish", "silu", "mish", "softsign", module=F),
    **_binary("add", "subtract", "multiply", "divide", "maximum", "minimum", "equal", "not_equal", "greater_than", "less_than"),
    **_binary("greater_equal", "less_equal"),
    **_binary("floor_divide", "remainder", inputs=(IDS + 5, IDS + 2)),
    **_binary("logical_and", "logical_or", inputs=(MASK, ~MASK)),
    "logical_not": Case("logical_not", paddle.logical_not, (MASK,)),
    "elementwise_pow": Case("elementwise_pow", lambda x, y: x**y, (POSITIVE, POSITIVE)),
    "pow": Case("pow", lambda x: paddle.pow(x, 3), (POSITIVE,)),
    "scale": Case("scale", lambda x: x * 2.0 + 1.0),
    "clip": Case("clip", lambda x: paddle.clip(x, -0.5, 0.5)),
    "leaky_relu": Case("leaky_relu", lambda x: F.leaky_relu(x, 0.2)),
    "gelu": Case("gelu", F.gelu),
    "gelu_tanh": Case("gelu", lambda x: F.gelu(x, approximate=True)),
    "elu": Case("elu", lambda x: F.elu(x, 0.7)),
    "softplus": Case("softplus", lambda x: F.softplus(x, 2.0, 10.0)),
    "hardsigmoid_slope": Case("hardsigmoid", lambda x: F.hardsigmoid(x, slope=0.2, offset=0.5)),
    "hardtanh": Case("hardtanh", lambda x: F.hardtanh(x, -0.3, 0.4)),
    "softmax": Case("softmax", lambda x: F.softmax(x, axis=1)),
    "log_softmax": Case("log_softmax", lambda x: F.log_softmax(x, axis=-1)),
    "prelu": Case("prelu", lambda layer, x: layer(x), (IMAGE,), lambda: nn.PReLU(4, init=0.3)),
    "swiglu": Case("swiglu", lambda x: paddle.incubate.nn.functional.swiglu(x), legacy=False),
    "cast": Case("cast", lambda x: paddle.cast(x * 3, "int32")),
    "where": Case("where", lambda m, x: paddle.where(m, x, x * 2), (MASK, (2, 3, 4))),
    "full": Case("full", lambda x: x + paddle.full([3, 4], 2.5)),
    "full_like": Case("full_like", lambda x: x + paddle.full_like(x, 1.5)),
    "one_hot": Case("one_hot", lambda x: F.one_hot(x, 5), (IDS,)),
    "assign_value": Case("assign_value", lambda x: x * paddle.to_tensor([[1.0, 2.0, 3.0, 4.0]]), legacy=False),
    "arange": Case("arange", lambda x: x + paddle.arange(paddle.shape(x)[2]).astype("float32"), dynamic=(0, 2)),
    "matmul": Case("matmul", paddle.matmul, ((2, 3, 4), (2, 4, 5))),
    "matmul_turned": Case("matmul", lambda x, y: paddle.matmul(x, y, transpose_y=True), ((2, 3, 4), (2, 5, 4))),
    "bmm": Case("bmm", paddle.bmm, ((2, 3, 4), (2, 4, 5))),
    "einsum": Case("einsum", lambda x, y: paddle.einsum("bij,bkj->bik", x, y), ((2, 3, 4), (2, 5, 4)), legacy=False),
    "dropout_up": Case("dropout", lambda x: F.dropout(x, 0.3, training=False)),
    "dropout_down": Case("dropout", lambda x: F.dropout(x, 0.3, training=False, mode="downscale_in_infer") + 1.0),
    # reductions
    "sum": Case("sum", lambda x: paddle.sum(x, axis=[1, 2])),
    "mean": Case("mean", lambda x: paddle.mean(x, axis=-1, keepdim=True)),
    "max": Case("max", lambda x: paddle.max(x, axis=1)),
    "min": Case("min", lambda x: paddle.min(x, axis=[1], keepdim=True)),
    "prod": Case("prod", lambda x: paddle.prod(x, axis=1)),
    "any": Case("any", lambda x: paddle.any(x, axis=2), (MASK,)),
    "all": Case("all", lambda x: paddle.all(x, axis=1), (MASK,)),
    "argmax": Case("argmax", lambda x: paddle.argmax(x, axis=-1)),
    "argsort": Case("argsort", lambda x: paddle.argsort(x, axis=-1, descending=True)),
    "topk": Case("topk", lambda x: paddle.topk(x, 2)),
    "cumsum": Case("cumsum", lambda x: paddle.cumsum(x, axis=1)),
    "p_norm": Case("p_norm", lambda x: paddle.norm(x, p=2, axis=-1)),
    "logsumexp": Case("logsumexp", lambda x: paddle.logsumexp(x, axis=1)),
    # shapes
    "reshape": Case("reshape", lambda x: x.reshape([paddle.shape(x)[0], -1])),
    "reshape_zero": Case("reshape", lambda x: x.reshape([0, 2, 6])),
    "reshape_computed": Case("reshape", lambda x: x.reshape([paddle.shape(x)[0], paddle.shape(x)[1] * 2, 2]), dynamic=(0, 1)),
    "transpose": Case("transpose", lambda x: x.transpose([0, 2, 1])),
    "flatten": Case("flatten", lambda x: x.flatten(1)),
    "squeeze": Case("squeeze", lambda x: x.squeeze(1), ((2, 1, 4),)),
    "unsqueeze": Case("unsqueeze", lambda x: x.unsqueeze([1, 3])),
    "concat": Case("concat", lambda x, y: paddle.concat([x, y, x], axis=1), ((2, 3, 4), (2, 2, 4))),
    "stack": Case("stack", lambda x, y: paddle.stack([x, y], axis=1), ((2, 3, 4), (2, 3, 4))),
    "split": Case("split", lambda x: paddle.split(x, [1, 3], axis=2)),
    "split_with_num": Case("split_with_num", lambda x: paddle.split(x, 2, axis=-1)[1]),
    "unbind": Case("unbind", lambda x: paddle.unbind(x, axis=1)[2]),
    "expand": Case("expand", lambda x: paddle.expand(x, [-1, 3, 4]), ((2, 1, 4),)),
    "expand_as": Case("expand_as", lambda x, y: paddle.expand_as(x, y), ((2, 1, 4), (2, 3, 4)), dynamic=()),
    "tile": Case("tile", lambda x: paddle.tile(x, [1, 2, 3])),
    "shape64": Case("shape64|shape", lambda x: paddle.shape(x) * 2, dynamic=(0, 2)),
    "roll": Case("roll", lambda x: paddle.roll(x, 1, axis=2)),
    "flip": Case("flip", lambda x: paddle.flip(x, axis=[1])),
    "meshgrid": Case("meshgrid", lambda x, y: paddle.meshgrid(x, y), ((3,), (4,)), dynamic=()),
    "tril": Case("tril", lambda x: paddle.tril(x)),
    # indexing
    "slice": Case("slice", lambda x: x[:, 1:, :2]),
    "slice_computed": Case("slice", lambda x: x[:, :, : paddle.shape(x)[2] - 1], dynamic=(0, 2)),
    "strided_slice": Case("strided_slice", lambda x: x[:, ::2, ::3]),
    "gather": Case("gather", lambda x, i: paddle.gather(x, i, axis=1), ((2, 3, 4), np.array([0, 2, 1, 1], "int64"))),
    "gather_nd": Case("gather_nd", lambda x, i: paddle.gather_nd(x, i), ((2, 3, 4), np.array([[0, 1], [1, 2]], "int64"))),
    "index_select": Case("index_select", lambda x, i: paddle.index_select(x, i, axis=2), ((2, 3, 4), np.array([3, 0], "int64"))),
    "take_along_axis": Case("take_along_axis", lambda x, i: paddle.take_along_axis(x, i, 1, broadcast=False), ((2, 3), IDS % 2)),
    "scatter": Case("scatter", lambda x, i, u: paddle.scatter(x, i, u), ((4, 3), np.array([2, 0], "int64"), (2, 3)), dynamic=()),
    "set_value": Case("set_value", _set_value),
    "set_value_with_tensor": Case("set_value_with_tensor|set_value", _set_tensor, ((2, 3, 4), (2, 4))),
    "embedding": Case("embedding", lambda layer, x: layer(x), (IDS,), lambda: nn.Embedding(6, 5, padding_idx=0)),
    # pictures
    "nearest_interp": Case("nearest_interp", lambda x: F.interpolate(x, scale_factor=2), (IMAGE,), dynamic=(0, 2, 3)),
    "nearest_sized": Case("nearest_interp", lambda x: F.interpolate(x, size=[paddle.shape(x)[2] * 2, 9]), (IMAGE,), dynamic=(0, 2, 3)),
    "bilinear_interp": Case("bilinear_interp", lambda x: F.interpolate(x, size=[7, 9], mode="bilinear"), (IMAGE,)),
    "bilinear_corners": Case(
        "bilinear_interp", lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=True), (IMAGE,), dynamic=(0, 2)
    ),
    "bicubic_interp": Case("bicubic_interp", lambda x: F.interpolate(x, size=[7, 9], mode="bicubic"), (IMAGE,)),
    "pad3d": Case("pad3d", lambda x: F.pad(x, [1, 2, 0, 1], mode="reflect"), (IMAGE,)),
    "pad": Case("pad|pad3d", lambda x: F.pad(x, [0, 0, 1, 1, 0, 0, 2, 0], value=0.5), (IMAGE,)),
    "grid_sample": Case("grid_sample", lambda x, g: F.grid_sample(x, paddle.tanh(g)), (IMAGE, (2, 5, 5, 2))),
    "pixel_shuffle": Case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), (IMAGE,)),
    "deformable_conv": Case(
        "deformable_conv",
        lambda layer, x, o: ops.deform_conv2d(x, o, layer.weight, padding=1),
        (IMAGE, (2, 18, 6, 8)),
        lambda: _Affine((5, 4, 3, 3)),
    ),
    "roi_align": Case(
        "roi_align", lambda x, b, n: ops.roi_align(x, b, n, 3), (IMAGE, BOXES, np.array([1, 1], "int32")), dynamic=()
    ),
    "pool2d_max": Case("pool2d", lambda x: F.max_pool2d(x, 3, 2, 1), (IMAGE,), dynamic=(0, 2, 3)),
    "pool2d_avg": Case("pool2d", lambda x: F.avg_pool2d(x, 3, 2, 1, exclusive=False, ceil_mode=True), (IMAGE,)),
    "pool2d_adaptive": Case("pool2d", lambda x: F.adaptive_avg_pool2d(x, [3, 4]), (IMAGE,)),
    "pool2d_adaptive_max": Case("pool2d|max_pool2d_with_index", lambda x: F.adaptive_max_pool2d(x, 2), (IMAGE,)),
    "pool3d": Case("pool3d", lambda x: F.avg_pool3d(x, 2), ((1, 2, 4, 4, 4),)),
    "max_pool2d_with_index": Case("max_pool2d_with_index", lambda x: F.max_pool2d(x, 2, return_mask=True), (IMAGE,)),
    # layers
    "conv1d": Case("conv2d", lambda layer, x: layer(x), ((2, 4, 9),), lambda: nn.Conv1D(4, 6, 3, 2, 1), dynamic=(0, 2)),
    "conv1d_transpose": Case("conv2d_transpose", lambda layer, x: layer(x), ((2, 4, 9),), lambda: nn.Conv1DTranspose(4, 6, 3, 2, 1)),
    "conv2d": Case("conv2d", lambda layer, x: layer(x), (IMAGE,), lambda: nn.Conv2D(4, 6, 3, 2, [1, 2], dilation=2, groups=2)),
    "conv2d_same": Case("conv2d", lambda layer, x: layer(x), (IMAGE,), lambda: nn.Conv2D(4, 6, 3, 2, "SAME", bias_attr=False)),
    "conv2d_one_sided": Case("conv2d", lambda layer, x: layer(x), (IMAGE,), lambda: nn.Conv2D(4, 6, 3, 2, [0, 1, 0, 1])),
    "conv2d_nhwc": Case("conv2d", lambda layer, x: layer(x), ((2, 6, 8, 4),), lambda: nn.Conv2D(4, 6, 3, data_format="NHWC")),
    "depthwise_conv2d": Case(
        "depthwise_conv2d", lambda layer, x: layer(x), (IMAGE,), lambda: nn.Conv2D(4, 4, 3, padding=1, groups=4), dynamic=(0, 2)
    ),
    "conv2d_transpose": Case(
        "conv2d_transpose", lambda layer, x: layer(x), (IMAGE,), lambda: nn.Conv2DTranspose(4, 6, 3, 2, 1, output_padding=1, groups=2)
    ),
    "conv2d_transpose_sized": Case(
        "conv2d_transpose", lambda layer, x: layer(x, output_size=[12, 16]), (IMAGE,), lambda: nn.Conv2DTranspose(4, 6, 3, 2, 1)
    ),
    "conv3d": Case("conv3d", lambda layer, x: layer(x), ((1, 2, 4, 4, 4),), lambda: nn.Conv3D(2, 4, 3, padding=1)),
    "conv3d_transpose": Case("conv3d_transpose", lambda layer, x: layer(x), ((1, 2, 3, 3, 3),), lambda: nn.Conv3DTranspose(2, 4, 2, 2)),
    "linear": Case("matmul", lambda layer, x: layer(x), layer=lambda: nn.Linear(4, 5)),
    "linear_turned": Case("matmul", lambda layer, x: paddle.matmul(x, layer.weight, transpose_y=True), layer=lambda: _Affine((5, 4))),
    "batch_norm": Case("batch_norm", lambda layer, x: layer(x), (IMAGE,), lambda: _settled(nn.BatchNorm2D(4, epsilon=1e-3))),
    "batch_norm1d": Case("batch_norm", lambda layer, x: layer(x), ((3, 4, 5),), lambda: _settled(nn.BatchNorm1D(4))),
    "batch_norm_flat": Case("batch_norm", lambda layer, x: layer(x), ((3, 4),), lambda: _settled(nn.BatchNorm1D(4))),
    "batch_norm3d": Case("batch_norm", lambda layer, x: layer(x), ((1, 2, 3, 3, 3),), lambda: _settled(nn.BatchNorm3D(2))),
    "layer_norm": Case("layer_norm", lambda layer, x: layer(x), layer=lambda: nn.LayerNorm([3, 4])),
    "layer_norm_plain": Case("layer_norm", lambda x: F.layer_norm(x, [4])),
    "group_norm": Case("group_norm", lambda layer, x: layer(x), (IMAGE,), lambda: nn.GroupNorm(2, 4)),
    "instance_norm": Case("instance_norm", lambda layer, x: layer(x), (IMAGE,), lambda: nn.InstanceNorm2D(4)),
    "lstm": Case("rnn", _state_free, ((2, 5, 4),), lambda: nn.LSTM(4, 6, num_layers=2, direction="bidirect"), legacy=False),
    "gru": Case("rnn", lambda layer, x: layer(x), ((2, 5, 4),), lambda: nn.GRU(4, 6), legacy=False),
    "simple_rnn": Case("rnn", _state_free, ((2, 5, 4),), lambda: nn.SimpleRNN(4, 6), legacy=False),
    "lstm_fixed": Case("rnn", lambda layer, x: layer(x), ((2, 5, 4),), lambda: nn.LSTM(4, 6, direction="bidirect"), dynamic=(1,)),
    "attention": Case(
        "matmul|flash_attn", lambda x: F.scaled_dot_product_attention(x, x, x), ((2, 5, 2, 8),), dynamic=(0, 1), legacy=False
    ),
    # constants of constants, learned affine maps
    "parameter_sum": Case("add", lambda layer, x: x + layer.weight * 2.0, layer=lambda: _Affine((4,))),
    "parameter_raw": Case("multiply", lambda layer, x: x * layer.weight, layer=lambda: _Affine((3, 4))),
}  # fmt: skip


def _settled(layer: nn.Layer) -> nn.Layer:
    """A batch norm with statistics and weights as after training."""
    rng = np.random.default_rng(3)
    size = layer.weight.shape
    for parameter, low in ((layer.weight, 0.5), (layer.bias, -1.0), (layer._mean, -0.5), (layer._variance, 0.5)):
        parameter.set_value((rng.random(size) + low).astype("float32"))
    return layer


def main(folder: Path) -> None:
    """Saves all that can be saved; names the others."""
    for name, case in CASES.items():
        if case.legacy:
            try:
                save(name, folder)
            except Exception as error:  # any of Paddle's: the test of that case then names it
                print(name, type(error).__name__, str(error).strip().splitlines()[-1][:150])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
