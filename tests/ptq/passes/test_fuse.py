"""`quantize(fuse=True)`: what is folded by name, what is found in the traced graph, and what must not be folded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, absmax, calibrated, converted, data, quietly, randomize_norms, relative, small_net
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from paddle.static import InputSpec

from ptq import ImperativePTQ
from ptq.layers import QuantizedLayer
from quantizers.errors import FuseError, QuantizationWarning, TraceError

IMAGE = (2, 3, 8, 8)


def _pair(layer: nn.Layer | None = None, norm: nn.Layer | None = None, **more: nn.Layer) -> nn.Layer:
    """A convolution (or ``layer``) and a batch norm."""
    layer = nn.Conv2D(3, 4, 3) if layer is None else layer
    norm = nn.BatchNorm2D(4) if norm is None else norm
    return randomize_norms(Net(lambda net, x: net.bn(net.conv(x)), conv=layer, bn=norm, **more))


def _fused(model: nn.Layer, x: paddle.Tensor, how: str) -> nn.Layer:
    """The model fused by ``fuse_list``, by the graph of ``input_spec``, or by the graph of the first batch; after one batch."""
    options: dict[str, Any] = {
        "fuse_list": {"fuse_list": [["conv", "bn"]]},
        "input_spec": {"input_spec": [InputSpec([None, *x.shape[1:]], "float32")]},
        "first batch": {},
    }[how]
    return quietly(lambda: calibrated(model, x, fuse=True, **options))


HOW = ["fuse_list", "input_spec", "first batch"]
PAIRS: list[Any] = [
    pytest.param(lambda: (nn.Conv1D(3, 4, 3), nn.BatchNorm1D(4)), (2, 3, 8), id="Conv1D"),
    pytest.param(lambda: (nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4)), (2, 3, 8, 8), id="Conv2D"),
    pytest.param(lambda: (nn.Conv3D(3, 4, 3), nn.BatchNorm3D(4)), (2, 3, 5, 5, 5), id="Conv3D"),
    pytest.param(lambda: (nn.Conv1DTranspose(4, 6, 3, groups=2), nn.BatchNorm1D(6)), (2, 4, 8), id="Conv1DTranspose"),
    pytest.param(lambda: (nn.Conv2DTranspose(4, 6, 3, groups=2), nn.BatchNorm2D(6)), (2, 4, 5, 5), id="Conv2DTranspose"),
    pytest.param(lambda: (nn.Conv3DTranspose(4, 6, 3, groups=2), nn.BatchNorm3D(6)), (2, 4, 3, 3, 3), id="Conv3DTranspose"),
    pytest.param(lambda: (nn.Conv2D(4, 4, 3, groups=4), nn.BatchNorm(4)), (2, 4, 5, 5), id="depthwise"),
    pytest.param(lambda: (nn.Conv2D(3, 4, 3, data_format="NHWC"), nn.BatchNorm2D(4, data_format="NHWC")), (2, 8, 8, 3), id="Conv2D NHWC"),
    pytest.param(lambda: (nn.Linear(3, 4), nn.BatchNorm1D(4)), (5, 3), id="Linear"),
    pytest.param(lambda: (nn.Linear(3, 4), nn.BatchNorm1D(4, data_format="NLC")), (5, 2, 3), id="Linear 3-D NLC"),
]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("make", "shape"), PAIRS)
def test_pairs_are_folded(make: Callable[[], tuple[nn.Layer, nn.Layer]], shape: tuple[int, ...], how: str) -> None:
    model, x = _pair(*make()), data(*shape)
    expected = model(x)
    fused = _fused(model, x, how)
    assert type(fused.bn) is nn.Identity
    assert relative(fused(x), expected) <= 1e-4
    np.testing.assert_array_equal(model(x).numpy(), expected.numpy())  # the user's model is as it was
    sixteen = ImperativePTQ(absmax(16))
    prepared = quietly(lambda: sixteen.quantize(model, fuse=True))
    prepared(x)
    assert relative(sixteen.convert(prepared)(x), expected) <= 2e-3


@pytest.mark.parametrize("how", HOW)
def test_training_mode_model_is_fused_in_eval_mode(how: str) -> None:
    model, x = _pair(), data(*IMAGE)
    expected = model(x)
    model.train()
    fused = _fused(model, x, how)
    assert model.training
    assert not any(layer.training for layer in fused.sublayers(include_self=True))
    assert relative(fused(x), expected) <= 1e-4


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("act", ["relu", "sigmoid"])
def test_activation_of_the_batch_norm_is_left(act: str, how: str) -> None:
    model, x = _pair(norm=nn.BatchNorm(4, act=act)), data(*IMAGE)
    fused = _fused(model, x, how)
    assert type(fused.bn) is {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[act]
    assert relative(fused(x), model(x)) <= 1e-4


@pytest.mark.parametrize("how", ["input_spec", "first batch"])
def test_unknown_activation_of_the_batch_norm_is_not_folded(how: str) -> None:
    model, x = _pair(norm=nn.BatchNorm(4, act="square")), data(*IMAGE)
    fused = _fused(model, x, how)
    assert type(fused.bn) is nn.BatchNorm
    assert relative(fused(x), model(x)) <= 1e-6
    with pytest.raises(FuseError, match="square"):
        ImperativePTQ().quantize(model, fuse=True, fuse_list=[["conv", "bn"]])


def _twice(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    y = net.conv(x)
    return net.bn(y) + y


def _shared_norm(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    return net.bn(net.conv(x)) + net.bn(net.other(x))


def _shared_convolution(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    return net.bn(net.conv(x)) + net.conv(x)


def _output(net: Any, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
    y = net.conv(x)
    return net.bn(y), y


def _weight_used(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    return net.bn(net.conv(x)) + net.conv.weight.sum()


def _norm_weight_used(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    return net.bn(net.conv(x)) + net.bn.weight.sum()


def _function_between(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    return net.bn(F.relu(net.conv(x)))


def _norm_first(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    return net.conv(net.bn(x))


NOT_FOLDED: list[Any] = [
    pytest.param(_twice, {}, id="output used twice"),
    pytest.param(_output, {}, id="output of the model"),
    pytest.param(_shared_norm, {"other": lambda: nn.Conv2D(3, 4, 3)}, id="shared batch norm"),
    pytest.param(_shared_convolution, {}, id="convolution used elsewhere"),
    pytest.param(_weight_used, {}, id="weight used elsewhere"),
    pytest.param(_norm_weight_used, {}, id="weight of the batch norm used elsewhere"),
    pytest.param(_function_between, {}, id="function between"),
]


@pytest.mark.parametrize("how", ["input_spec", "first batch"])
@pytest.mark.parametrize(("compute", "more"), NOT_FOLDED)
def test_what_the_graph_shows_not_to_be_foldable(compute: Any, more: dict[str, Any], how: str) -> None:
    layers = {name: make() for name, make in more.items()}
    model = randomize_norms(Net(compute, conv=nn.Conv2D(3, 4, 3), bn=nn.BatchNorm2D(4), **layers))
    x = data(*IMAGE)
    fused = _fused(model, x, how)
    assert type(fused.bn) is nn.BatchNorm2D
    for answer, expected in zip(paddle.utils.flatten(fused(x)), paddle.utils.flatten(model(x)), strict=True):
        assert relative(answer, expected) <= 1e-6


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (lambda: nn.Conv2D(3, 4, 3), lambda: nn.BatchNorm2D(4, use_global_stats=False), IMAGE),
        (lambda: nn.Conv2D(3, 4, 3), lambda: nn.BatchNorm(4, trainable_statistics=True), IMAGE),
        (lambda: nn.Linear(3, 4), lambda: nn.BatchNorm1D(4), (5, 4, 3)),
    ],
    ids=["use_global_stats=False", "trainable_statistics", "Linear 3-D, batch norm NCL"],
)
def test_pairs_that_are_not_foldable(layer: Any, norm: Any, shape: tuple[int, ...]) -> None:
    model, x = _pair(layer(), norm()), data(*shape)
    fused = _fused(model, x, "first batch")
    assert type(fused.bn) is type(model.bn)
    assert relative(fused(x), model(x)) <= 1e-6


def test_batch_norm_before_the_convolution_is_not_folded() -> None:
    model = randomize_norms(Net(_norm_first, conv=nn.Conv2D(3, 4, 3), bn=nn.BatchNorm2D(3)))
    fused = _fused(model, data(*IMAGE), "first batch")
    assert type(fused.bn) is nn.BatchNorm2D


def test_a_pair_used_twice_is_folded_once() -> None:
    model = randomize_norms(Net(lambda net, x: net.bn(net.conv(net.bn(net.conv(x)))), conv=nn.Conv2D(3, 3, 3), bn=nn.BatchNorm2D(3)))
    x = data(*IMAGE)
    fused = _fused(model, x, "first batch")
    assert type(fused.bn) is nn.Identity
    assert relative(fused(x), model(x)) <= 1e-4


def test_weights_shared_with_a_layer_that_is_not_folded() -> None:
    model = Net(lambda net, x: net.bn(net.conv(x)) + net.other(x), conv=nn.Conv2D(3, 4, 3), other=nn.Conv2D(3, 4, 3), bn=nn.BatchNorm2D(4))
    model.other.weight = model.conv.weight
    randomize_norms(model)
    x = data(*IMAGE)
    for how in HOW:
        fused = _fused(model, x, how)
        assert relative(fused(x), model(x)) <= 1e-4


@pytest.mark.parametrize("how", HOW)
def test_aliases_and_lists_follow(how: str) -> None:
    def forward(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        return net.steps[1](net.steps[0](x))

    model = Net(forward, conv=nn.Conv2D(3, 4, 3), bn=nn.BatchNorm2D(4))
    model.alias = model.bn
    model.steps = [model.conv, model.bn]
    model.table = {"norm": model.bn, "pair": (model.conv, model.bn)}
    randomize_norms(model)
    x = data(*IMAGE)
    fused = _fused(model, x, how)
    rest = fused.bn
    assert type(rest) is nn.Identity
    assert fused.alias is rest
    assert fused.steps[1] is rest
    assert fused.table["norm"] is rest
    assert fused.table["pair"][1] is rest
    assert fused.steps[0] is fused.conv
    assert relative(fused(x), model(x)) <= 1e-4
    assert model.steps[1] is model.bn  # the user's own lists are as they were
    quantized = ImperativePTQ().convert(fused)
    assert quantized.steps[0] is quantized.conv is quantized.table["pair"][0]


def test_hooks_of_the_batch_norm_stay() -> None:
    model, x = _pair(), data(*IMAGE)
    seen: list[list[int]] = []
    model.bn.register_forward_post_hook(lambda _, __, output: seen.append(output.shape))
    fused = _fused(model, x, "first batch")
    seen.clear()
    fused(x)
    assert seen == [[2, 4, 6, 6]]


def test_a_hook_that_changes_the_convolutions_output_prevents_folding() -> None:
    model, x = _pair(), data(*IMAGE)
    model.conv.register_forward_post_hook(lambda _, __, output: output * 2)
    fused = _fused(model, x, "first batch")
    assert relative(fused(x), model(x)) <= 1e-4
    assert type(fused.bn) is nn.BatchNorm2D


@pytest.mark.parametrize("how", HOW)
def test_the_batch_norm_of_a_skipped_layer_is_folded_all_the_same(how: str) -> None:
    """Folding keeps the answers: the layers tell whether it happened, and what stayed float."""
    model, x = _pair(last=nn.Linear(6, 5)), data(*IMAGE)
    model.compute = lambda net, x: net.last(net.bn(net.conv(x)))
    model.conv.skip_quant = True
    fused = _fused(model, x, how)
    assert type(fused.bn) is nn.Identity
    assert not np.array_equal(fused.conv.weight.numpy(), model.conv.weight.numpy())
    assert relative(fused(x), model(x)) <= 1e-4
    quantized = quietly(lambda: ImperativePTQ().convert(fused))
    assert type(quantized.conv) is nn.Conv2D
    assert isinstance(quantized.last, QuantizedLayer)


# fuse_list


def _chain(*layers: nn.Layer) -> nn.Layer:
    return randomize_norms(nn.Sequential(*layers))


@pytest.mark.parametrize(
    ("layers", "shape", "without_output_grid"),
    [
        (lambda: (nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.ReLU()), IMAGE, {"0", "1"}),
        (lambda: (nn.Conv2D(3, 4, 3), nn.ReLU()), IMAGE, {"0"}),
        (lambda: (nn.Linear(3, 4), nn.ReLU()), (5, 3), {"0"}),
        (lambda: (nn.BatchNorm2D(3), nn.ReLU(), nn.Conv2D(3, 4, 3)), IMAGE, {"0"}),
        (lambda: (nn.Conv1D(3, 4, 3), nn.BatchNorm1D(4), nn.Hardswish()), (2, 3, 8), {"0", "1"}),
    ],
    ids=["conv bn relu", "conv relu", "linear relu", "bn relu", "conv bn hardswish"],
)
def test_patterns(layers: Any, shape: tuple[int, ...], without_output_grid: set[str]) -> None:
    model, x = _chain(*layers()), data(*shape)
    names = ["0", "1", "2"][: 3 if len(without_output_grid) == 2 else 2]
    prepared = calibrated(model, x, fuse=True, fuse_list=[names])
    assert relative(prepared(x), model(x)) <= 1e-4
    sampled = {
        name
        for name, layer in prepared.named_sublayers()
        if hasattr(layer, "_quant_config") and layer._quant_config.enable_out_act_quantizer
    }
    assert not sampled & without_output_grid
    assert names[-1] in sampled
    folded = [nn.Identity if "1" in without_output_grid and i == 1 else type(layer) for i, layer in enumerate(model)]
    assert [type(layer) for layer in prepared] == folded


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (["conv1", "nothing"], "no sublayer 'nothing'"),
        (["conv1.bn1", "bn1"], r"no sublayer 'conv1\.bn1'"),
        (["bn1", "conv1"], "what can be fused"),
        (["conv1", "fc"], "what can be fused"),
        (["conv1", "bn1", "pool"], "what can be fused"),
        (["conv1", "bn1", "relu", "fc"], "what can be fused"),
        (["relu", "fc"], "what can be fused"),
        (["conv1"], "at least two"),
        ([], "at least two"),
        ("conv1", "at least two"),
        ([1, 2], "at least two"),
        (["conv1", "conv1"], "listed twice"),
        (["fc", "bn1"], "channels"),
    ],
)
def test_wrong_groups(group: Any, message: str) -> None:
    model = small_net()
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    with pytest.raises(FuseError, match=message):
        ImperativePTQ().quantize(model, inplace=True, fuse=True, fuse_list=[["conv2", "bn2"], group])
    assert type(model.bn2) is nn.BatchNorm2D  # nothing was changed by the good group before it
    assert all((weights[key] == value.numpy()).all() for key, value in model.state_dict().items())
    assert not model._forward_pre_hooks


def test_a_name_in_two_groups() -> None:
    with pytest.raises(FuseError, match="listed twice"):
        ImperativePTQ().quantize(small_net(), fuse=True, fuse_list=[["conv1", "bn1"], ["conv2", "bn1"]])


@pytest.mark.parametrize("bad", [None, "conv1", 3])
def test_fuse_list_of_another_type(bad: Any) -> None:
    model = small_net()
    if bad is None:
        fused = calibrated(model, data(*IMAGE), fuse=True, fuse_list=None)
        assert type(fused.bn1) is nn.Identity
        return
    with pytest.raises(FuseError):
        ImperativePTQ().quantize(model, fuse=True, fuse_list=bad)


def test_empty_fuse_list_folds_nothing() -> None:
    fused = calibrated(small_net(), data(*IMAGE), fuse=True, fuse_list=[])
    assert type(fused.bn1) is nn.BatchNorm2D


def test_a_layer_named_by_its_alias() -> None:
    model = Net(lambda net, x: net.bn(net.conv(x)), conv=nn.Conv2D(3, 4, 3), bn=nn.BatchNorm2D(4))
    model.second_name = model.bn
    randomize_norms(model)
    x = data(*IMAGE)
    fused = calibrated(model, x, fuse=True, fuse_list=[["conv", "second_name"]])
    assert type(fused.bn) is type(fused.second_name) is nn.Identity
    assert relative(fused(x), model(x)) <= 1e-4
    with pytest.raises(FuseError, match="listed twice"):
        ImperativePTQ().quantize(model, fuse=True, fuse_list=[["conv", "second_name"], ["conv", "bn"]])


def test_nested_names() -> None:
    model = randomize_norms(nn.Sequential(nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4))))
    x = data(*IMAGE)
    fused = calibrated(model, x, fuse=True, fuse_list=[["0.0", "0.1"]])
    assert type(fused[0][1]) is nn.Identity
    assert relative(fused(x), model(x)) <= 1e-4


# models that cannot be traced


def _untraceable(net: Any, x: paddle.Tensor) -> paddle.Tensor:
    return net.bn(net.conv(paddle.to_tensor(x.tolist())))


def test_automatic_fusing_of_an_untraceable_model_is_an_error() -> None:
    model = randomize_norms(Net(_untraceable, conv=nn.Conv2D(3, 4, 3), bn=nn.BatchNorm2D(4)))
    with pytest.raises(TraceError, match="pass fuse_list, or fuse=False"):
        ImperativePTQ().quantize(model, fuse=True, input_spec=[InputSpec([None, 3, 8, 8], "float32")])
    prepared = ImperativePTQ().quantize(model, fuse=True)
    for _ in range(2):  # and again, not only once
        with pytest.raises(TraceError, match="pass fuse_list, or fuse=False"):
            prepared(data(*IMAGE))


def test_untraceable_model_with_fuse_list_or_without_fusing() -> None:
    model = randomize_norms(Net(_untraceable, conv=nn.Conv2D(3, 4, 3), bn=nn.BatchNorm2D(4)))
    x = data(*IMAGE)
    with pytest.warns(QuantizationWarning, match="cannot be traced"):
        fused = calibrated(model, x, fuse=True, fuse_list=[["conv", "bn"]])
    assert type(fused.bn) is nn.Identity
    assert relative(fused(x), model(x)) <= 1e-4
    with pytest.warns(QuantizationWarning, match="cannot be traced"):
        plain = calibrated(model, x, config=absmax(16))
    assert relative(ImperativePTQ().convert(plain)(x), model(x)) <= 1e-3


def test_fuse_list_tells_what_no_graph_can() -> None:
    """Of an untraceable model only the list says that an activation follows."""

    def forward(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        return net.relu(net.bn(net.conv(paddle.to_tensor(x.tolist()))))

    model = randomize_norms(Net(forward, conv=nn.Conv2D(3, 4, 3), bn=nn.BatchNorm2D(4), relu=nn.ReLU()))
    plain = quietly(lambda: calibrated(model, data(*IMAGE)))
    listed = quietly(lambda: calibrated(model, data(*IMAGE), fuse=True, fuse_list=[["bn", "relu"]]))
    assert plain.bn._quant_config.enable_out_act_quantizer
    assert not listed.bn._quant_config.enable_out_act_quantizer
    assert listed.relu._quant_config.enable_out_act_quantizer


def test_no_batch_norm_is_left_in_a_residual_net() -> None:
    model, x = small_net(), data(*IMAGE)
    quantized = converted(model, x, fuse=True, config=absmax(16))
    assert [type(layer) for layer in (quantized.bn1, quantized.bn2)] == [nn.Identity, nn.Identity]
    assert relative(quantized(x), model(x)) <= 2e-3
