"""Paddle's own names, used as its documentation does."""

from __future__ import annotations

from pathlib import Path

import paddle
import pytest
from paddle import nn
from paddle.quantization import QuantConfig, quanter
from paddle.quantization.base_quanter import BaseQuanter
from paddle.quantization.quanters import FakeQuanterWithAbsMaxObserver
from paddle.static import InputSpec
from training_cases import Small, batch, decibels, sgd, step

import ptq
from ptq.training.layers import LayerInTraining
from quantizers.errors import ConfigError, ModelError


def in_training(model: nn.Layer) -> list[str]:
    return [
        name for name, layer in model.named_sublayers() if isinstance(layer, LayerInTraining) and layer._sub_layers["weight_grids"].items()
    ]


@quanter("OwnQuanter")
class OwnQuanterLayer(BaseQuanter):
    def __init__(self, layer: nn.Layer, bit_length: int = 8) -> None:
        del layer
        super().__init__()
        self.bits = bit_length

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        step_size = 3.0 / (2 ** (self.bits - 1) - 1)
        clipped = paddle.clip(x, -3.0, 3.0)
        return clipped + (paddle.round(clipped / step_size) * step_size - clipped).detach()

    def scales(self) -> paddle.Tensor:
        return paddle.to_tensor(3.0)

    def zero_points(self) -> None:
        return None

    def quant_axis(self) -> int:
        return -1

    def bit_length(self) -> int:
        return self.bits


def test_qat_as_paddles_documentation_has_it(tmp_path: Path) -> None:
    fake = FakeQuanterWithAbsMaxObserver(moving_rate=0.8)
    qat = ptq.QAT(QuantConfig(activation=fake, weight=fake))
    x, y = batch()
    net = Small()
    net.train()
    model = qat.quantize(net)
    assert in_training(model) == ["c1", "c2", "t", "fc"]
    assert not in_training(net)
    assert model.c1.input_grid.rate == 0.8
    step(model, sgd(model), x, y)
    model.eval()
    after = qat.convert(model)
    with paddle.no_grad():
        assert decibels(after(x), model(x)) >= 35
    paddle.jit.save(after, str(tmp_path / "m"), [InputSpec([None, 3, 6, 6])])
    loaded = paddle.jit.load(str(tmp_path / "m"))
    with paddle.no_grad():
        assert paddle.equal_all(loaded(x), after(x))
    with pytest.raises(ConfigError, match="remain_weight"):
        qat.convert(model, remain_weight=True)


def test_a_quant_config_by_layer_name_and_type() -> None:
    narrow, wide = FakeQuanterWithAbsMaxObserver(bit_length=4), FakeQuanterWithAbsMaxObserver()
    net = Small()
    config = QuantConfig(activation=None, weight=None)
    config.add_type_config(nn.Conv2D, activation=wide, weight=wide)
    config.add_layer_config([net.c2], activation=narrow, weight=narrow)
    config.add_name_config([net.t.full_name()], activation=wide, weight=narrow)
    model = ptq.QAT(config).quantize(net)
    assert in_training(model) == ["c1", "c2", "t"]
    widths = {n: (getattr(model, n).input_grid.num_bits, getattr(model, n).weight_grids.get("weight").num_bits) for n in ("c1", "c2", "t")}
    assert widths == {"c1": (8, 8), "c2": (4, 4), "t": (8, 4)}


def test_quanters_of_the_users_own() -> None:
    own = OwnQuanter(bit_length=6)  # noqa: F821 - what the decorator makes
    x, y = batch()
    model = ptq.qat.prepare(Small(), QuantConfig(activation=own, weight=FakeQuanterWithAbsMaxObserver()))
    step(model, sgd(model), x, y)
    model.eval()
    after = ptq.qat.convert(model)
    assert after.c1.input_qparams.num_bits == 6
    with paddle.no_grad():
        assert decibels(after(x), model(x)) >= 35


def test_what_of_a_quant_config_is_refused() -> None:
    fake = FakeQuanterWithAbsMaxObserver()
    with pytest.raises(ConfigError, match="layer 'c1' has a quanter for its weight only"):
        ptq.QAT(QuantConfig(activation=None, weight=fake)).quantize(Small())
    config = QuantConfig(activation=fake, weight=fake)
    config.add_customized_leaf(nn.Sequential)
    with pytest.raises(ConfigError, match="add_customized_leaf"):
        ptq.QAT(config).quantize(Small())
    config = QuantConfig(activation=fake, weight=fake)
    config.add_type_config(nn.Linear, activation=OwnQuanter(), weight=fake)  # noqa: F821
    with pytest.raises(ConfigError, match="other quanters than"):
        ptq.QAT(config).quantize(Small())
    with pytest.raises(ConfigError, match="QAT takes a"):
        ptq.QAT("moving_average_abs_max")


@pytest.mark.parametrize("activation", ["abs_max", "moving_average_abs_max"])
@pytest.mark.parametrize("weight", ["abs_max", "channel_wise_abs_max"])
def test_imperative_quant_aware(tmp_path: Path, activation: str, weight: str) -> None:
    x, y = batch()
    net = Small()
    net.train()
    net.c2.skip_quant = True
    qat = ptq.ImperativeQuantAware(weight_quantize_type=weight, activation_quantize_type=activation)
    assert qat.quantize(net) is net
    assert in_training(net) == ["c1", "t", "fc"]
    step(net, sgd(net), x, y)
    net.eval()
    saved = qat.save_quantized_model(net, str(tmp_path / "m"), input_spec=[InputSpec([None, 3, 6, 6])], verbose=False)
    with paddle.no_grad():
        assert decibels(saved(x), net(x)) >= 35
        assert decibels(ptq.load(str(tmp_path / "m"))(x), net(x)) >= 35
    net.train()
    step(net, sgd(net), x, y)


def test_imperative_quant_aware_folds_and_refuses() -> None:
    x, _ = batch()
    model = ptq.ImperativeQuantAware(["Conv2D"], fuse_conv_bn=True).quantize(Small(), input_spec=[x])
    assert in_training(model) == ["c1", "c2"]
    assert not hasattr(model.b1, "_variance")
    with pytest.raises(ConfigError, match="weight_quantize_type must be one of"):
        ptq.ImperativeQuantAware(weight_quantize_type="range_abs_max")
    with pytest.raises(ConfigError, match="activation_quantize_type must be one of"):
        ptq.ImperativeQuantAware(activation_quantize_type="lsq")
    with pytest.raises(ConfigError, match="onnx_format must be True or False"):
        ptq.ImperativeQuantAware(onnx_format="yes")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="needs the model that quantize returned"):
        ptq.ImperativeQuantAware().save_quantized_model(Small(), "nowhere")
