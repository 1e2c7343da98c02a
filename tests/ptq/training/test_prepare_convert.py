"""What was trained is what runs: grids before and after `convert`, batch norms, and models of all kinds."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
import pytest
from models import quietly, randomize_norms
from paddle import nn
from training_cases import Small, batch, decibels, sgd, step, trained

import ptq
from benchmarks.real_nets import resnet20, why_absent
from ptq import PTQConfig, QuantOverride
from ptq.layers import GridInput, QuantizedLayer
from ptq.qat import QATConfig, convert, freeze_batch_norms, prepare
from ptq.training.layers import LayerInTraining
from quantizers import AbsmaxQuantizer, MSEQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import AlreadyQuantizedError, ConfigError, ModelError, NonFiniteError

ACTIVATIONS = ("lsq", "lsq+", "pact", "moving_average_abs_max", "range_abs_max", "abs_max", "fixed")
CASES = [(kind, "compute", "convert") for kind in ACTIVATIONS] + [
    ("lsq", "full", "convert"),
    ("lsq+", "full", "training"),
    ("moving_average_abs_max", "full", "before"),
    ("lsq", "compute", "training"),
    ("lsq", "compute", "before"),
    ("lsq", "compute", None),
]


@pytest.mark.parametrize(("kind", "placement", "fuse"), CASES)
def test_answers_before_and_after_are_the_same_at_8_bits(kind: str, placement: str, fuse: str | None) -> None:
    model, x = trained(QATConfig(kind, placement=placement, fuse=fuse, window_size=20))
    with paddle.no_grad():
        before, after = model(x), convert(model)(x)
    assert paddle.equal_all(after, before)
    with_gradients = model(x)  # then batch norms are not folded, and biases not rounded
    assert decibels(with_gradients, before) >= 35


@pytest.mark.skipif(bool(why_absent()), reason=why_absent() or "-")
@pytest.mark.parametrize("placement", ["compute", "full"])
def test_a_real_net_answers_the_same_before_and_after(placement: str) -> None:
    net = resnet20()
    x = paddle.to_tensor(net.dev[:8])
    model = prepare(net.model, QATConfig(placement=placement), data=[paddle.to_tensor(net.calibration[:8])])
    with paddle.no_grad():
        assert paddle.equal_all(convert(model)(x), model(x))


@pytest.mark.parametrize("weights", ["abs_max", "moving_average_abs_max", "range_abs_max"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_of_every_kind(weights: str, per_channel: bool) -> None:
    model, x = trained(QATConfig("fixed", weights, per_channel=per_channel, window_size=20))
    with paddle.no_grad():
        assert decibels(convert(model)(x), model(x)) >= 35


@pytest.mark.parametrize("kind", ["lsq", "lsq+", "pact", "moving_average_abs_max"])
@pytest.mark.parametrize("bits", [2, 4])
def test_every_layer_has_the_same_integers_at_low_bits(kind: str, bits: int) -> None:
    model, _ = trained(QATConfig(kind, activation_bits=bits, weight_bits=bits, fuse="before"))
    twins = dict(convert(model).named_sublayers())
    for name, layer in model.named_sublayers():
        if isinstance(layer, LayerInTraining):
            twin: Any = twins[name]
            assert isinstance(twin, QuantizedLayer)
            with paddle.no_grad():
                assert float((twin.weight - layer.weight).abs().max()) <= 1e-6 * float(layer.weight.abs().max())
                x = paddle.randn([4, layer.weight.shape[0] if name in ("t", "fc") else 8]) * 2
                trained_x, twin_x = layer._sub_layers["input_grid"](x), twin.quantize_input(x)
            step_size = float(twin.input_scale)
            assert np.array_equal(np.rint(trained_x.numpy() / step_size), np.rint(twin_x.numpy() / step_size))


def test_integers_keep_their_places_when_a_batch_norm_is_folded_in_the_end() -> None:
    net = Small()
    randomize_norms(net)
    net.b1.weight.set_value(paddle.to_tensor([1.0, -2.0, 0.0, 0.5, -0.1, 1.0, 1.0, 3.0]))
    x, _ = batch()
    model = prepare(net, QATConfig(weight_bits=3), data=[x])
    layer, twin = model.c1, convert(model).c1
    with paddle.no_grad():
        before = model(x)
        integers = np.rint((layer.rounded_weight("weight") / layer.weight_grids.get("weight").scales(layer.weight)).numpy())
        assert decibels(convert(model)(x), before) >= 35
    sign = np.sign([1.0, -2.0, 0.0, 0.5, -0.1, 1.0, 1.0, 3.0]).reshape(-1, 1, 1, 1)
    assert np.array_equal(twin.weight_quantized.numpy(), integers * sign)


def test_without_data_the_batch_norms_are_found_when_it_is_converted() -> None:
    model, x = trained(QATConfig("moving_average_abs_max", fuse="convert"), data=False)
    after = convert(model)
    assert not any(hasattr(layer, "_variance") for layer in after.sublayers())
    with paddle.no_grad():
        assert decibels(after(x), model(x)) >= 35


def test_folding_in_training_learns_what_a_batch_norm_learns() -> None:
    x, y = batch()
    net = randomize_norms(Small())
    net.train()
    model = prepare(net, QATConfig(activation_bits=16, weight_bits=16, fuse="training", activations="abs_max"), data=[x])
    plain, folded = sgd(net), sgd(model)
    for _ in range(3):
        assert step(model, folded, x, y) == pytest.approx(step(net, plain, x, y), rel=2e-3)
    norm = model.c1.norm
    np.testing.assert_allclose(norm._mean.numpy(), net.b1._mean.numpy(), rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(norm._variance.numpy(), net.b1._variance.numpy(), rtol=1e-2)
    np.testing.assert_allclose(norm.weight.numpy(), net.b1.weight.numpy(), rtol=1e-3)


@pytest.mark.parametrize("fuse", ["training", "convert"])
def test_frozen_statistics_stay_and_count(fuse: str) -> None:
    x, y = batch()
    model = prepare(Small(), QATConfig(fuse=fuse), data=[x])
    model.train()
    freeze_batch_norms(model)
    mean = model.c1.norm._mean.numpy().copy()
    with paddle.no_grad():
        in_training = model(x)
        model.eval()
        assert decibels(in_training, model(x)) > 60
    model.train()
    step(model, sgd(model), x, y)
    assert np.array_equal(model.c1.norm._mean.numpy(), mean)
    freeze_batch_norms(model, frozen=False)
    model(x)
    assert not np.array_equal(model.c1.norm._mean.numpy(), mean)


def test_the_users_model_is_left_alone() -> None:
    x, y = batch()
    net = Small()
    net.train()
    before = {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}
    model = prepare(net, QATConfig(placement="full"), data=[x])
    step(model, sgd(model), x, y)
    assert net.training
    assert model.training
    assert all(np.array_equal(tensor.numpy(), before[name]) for name, tensor in net.state_dict().items())
    assert type(net) is Small
    assert not net._forward_pre_hooks


def test_modes_are_kept() -> None:
    x, _ = batch()
    net = Small()
    net.train()
    net.b1.eval()
    model = prepare(net, QATConfig(), data=[x])
    assert model.training
    assert not model.b1.training
    assert model.c1.training
    assert model.c1.input_grid.training


def test_a_converted_copy_leaves_the_model_in_training() -> None:
    model, x = trained(QATConfig(placement="full"))
    with paddle.no_grad():
        before = model(x)
        convert(model)
        assert paddle.equal_all(model(x), before)
    optimizer = sgd(model)
    model.train()
    step(model, optimizer, *batch())


def test_a_state_is_loaded_and_gone_on_with_bit_for_bit() -> None:
    x, y = batch()
    for kind in ("lsq+", "range_abs_max", "pact"):
        config = QATConfig(kind, window_size=4)
        net = Small()
        first = prepare(net, config)
        first.train()
        optimizer = sgd(first)
        step(first, optimizer, x, y)
        state, of_optimizer = copy.deepcopy(first.state_dict()), copy.deepcopy(optimizer.state_dict())
        expected = [step(first, optimizer, x, y) for _ in range(2)]
        second = prepare(net, config)
        second.train()
        second.set_state_dict(state)
        again = sgd(second)
        again.set_state_dict(_renamed(of_optimizer, first, second))
        assert [step(second, again, x, y) for _ in range(2)] == expected, kind


def _renamed(state: dict[str, Any], first: nn.Layer, second: nn.Layer) -> dict[str, Any]:
    """An optimizer's state for a model whose parameters have other names, as in the same process they do."""
    names = {a.name: b.name for a, b in zip(first.parameters(), second.parameters(), strict=True)}
    found = {}
    for key, value in state.items():
        old = next((name for name in sorted(names, key=len, reverse=True) if key.startswith(name)), None)
        found[key if old is None else names[old] + key[len(old) :]] = value
    return found


def test_overrides_bits_and_what_stays_float() -> None:
    x, _ = batch()
    net = Small()
    net.c2.skip_quant = True
    config = QATConfig(weight_bits=4, activation_bits=4, overrides={"c1": QuantOverride(8, 8), "fc": None})
    model = prepare(net, config, data=[x])
    assert isinstance(model.c1, LayerInTraining)
    assert (model.c1.input_grid.num_bits, model.c1.weight_grids.get("weight").num_bits) == (8, 8)
    assert (model.t.input_grid.num_bits, model.t.weight_grids.get("weight").num_bits) == (4, 4)
    assert not isinstance(model.fc, LayerInTraining)
    assert not model.c2.weight_grids.items()
    model.train()
    mean = model.c2.norm._mean.numpy().copy()
    step(model, sgd(model), *batch())
    assert not np.array_equal(model.c2.norm._mean.numpy(), mean), "the batch norm of a float layer is trained too"
    model.eval()
    after = convert(model)
    assert type(after.c2) is nn.Conv2D
    with paddle.no_grad():
        assert decibels(after(x), model(x)) >= 20


def _on_grids(model: nn.Layer) -> list[str]:
    return [
        name for name, layer in model.named_sublayers() if isinstance(layer, LayerInTraining) and layer._sub_layers["weight_grids"].items()
    ]


def test_patterns_and_kinds_of_layers() -> None:
    x, _ = batch()
    model = prepare(Small(), QATConfig(not_quant_pattern="c2", quantizable_layer_type=["Conv2D", nn.Conv2DTranspose]), data=[x])
    assert _on_grids(model) == ["c1", "t"]
    with pytest.raises(ConfigError, match="quantizable_layer_type has 'Convolution'"):
        prepare(Small(), QATConfig(quantizable_layer_type=["Convolution"]))


def test_a_ptq_config_gives_the_first_ranges() -> None:
    x, _ = batch()
    model = prepare(Small(), PTQConfig(MSEQuantizer(6, symmetric=True), PerChannelAbsmaxQuantizer(5)), data=[x])
    assert type(model.c1.input_grid).__name__ == "LSQGrid"
    assert (model.c1.input_grid.num_bits, model.c1.weight_grids.get("weight").num_bits) == (6, 5)
    model = prepare(Small(), QATConfig("fixed", initial=AbsmaxQuantizer()), data=[x])
    assert float(model.c1.input_grid.scale) == pytest.approx(float(x.abs().max()) / 127, rel=1e-6)


def test_recurrent_layers_embeddings_tied_weights_and_layers_called_twice() -> None:
    class Text(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(20, 8)
            self.lstm = nn.LSTM(8, 8)
            self.cell = nn.GRUCell(8, 8)
            self.between = nn.Linear(8, 8)
            self.out = nn.Linear(8, 20)
            self.out.weight = paddle.create_parameter([8, 20], "float32")

        def forward(self, ids: paddle.Tensor) -> paddle.Tensor:
            x, _ = self.lstm(self.words(ids))
            x, _ = self.cell(self.between(input=F.relu(self.between(x[:, -1]))))
            return self.out(x)

    ids = paddle.to_tensor(np.random.default_rng(0).integers(0, 20, (4, 5)))
    net = Text()
    model = prepare(net, QATConfig(), data=[ids])
    model.train()
    optimizer = sgd(model, 0.1)
    losses = [step(model, optimizer, ids, ids[:, 0]) for _ in range(6)]
    assert losses[-1] < losses[0]
    assert float(model.lstm._parameters["weight_ih_l0"].abs().sum()) != float(net.lstm.weight_ih_l0.abs().sum())
    model.eval()
    with paddle.no_grad():
        assert decibels(convert(model)(ids), model(ids)) >= 35


def test_tied_weights_share_a_grid_and_stay_tied() -> None:
    class Tied(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
            self.b.weight = self.a.weight

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return self.b(F.relu(self.a(x)))

    x = paddle.randn([4, 6])
    model = quietly(lambda: prepare(Tied(), QATConfig(), data=[x]))
    assert model.a.weight_grids.get("weight") is model.b.weight_grids.get("weight")
    model.eval()
    after = convert(model)
    assert after.a.weight_quantized is after.b.weight_quantized
    with paddle.no_grad():
        assert decibels(after(x), model(x)) >= 35


def test_a_users_own_layer_and_a_model_that_is_one_layer() -> None:
    class Scaled(nn.Linear):
        def forward(self, input: paddle.Tensor, factor: float = 1.0) -> paddle.Tensor:
            return super().forward(input) * factor

    ptq.PTQRegistry.register(Scaled)
    try:
        x = paddle.randn([4, 6])
        for net in (nn.Sequential(Scaled(6, 4)), nn.Linear(6, 4), Scaled(6, 4)):
            model = prepare(net, QATConfig(), data=[x])
            assert isinstance(model[0] if isinstance(net, nn.Sequential) else model, LayerInTraining)
            after = convert(model)
            with paddle.no_grad():
                assert decibels(after(x), model(x)) >= 35
            assert any(isinstance(layer, GridInput) for layer in after.sublayers(include_self=True))
    finally:
        ptq.PTQRegistry.unregister(Scaled)


def test_the_float_model_of_a_trained_one(tmp_path: Any) -> None:
    model, x = trained(QATConfig())
    after = convert(model)
    ptq.ImperativePTQ().save_quantized_model(after, str(tmp_path / "m"), float_baseline=True, verbose=False)
    loaded = paddle.jit.load(str(tmp_path / "float_m"))
    with paddle.no_grad():
        assert 20 < decibels(model(x), loaded(x)) < 60


@pytest.mark.parametrize("answer", ["second", "whole", "none"])
def test_what_is_refused(answer: str) -> None:
    x, _ = batch()
    if answer == "second":
        with pytest.raises(AlreadyQuantizedError, match="prepared for training already"):
            prepare(prepare(Small(), QATConfig()), QATConfig())
    elif answer == "whole":
        with pytest.raises(ConfigError, match="pass data or input_spec"):
            prepare(Small(), QATConfig(placement="full"))
        with pytest.raises(ConfigError, match="fuse='training' needs"):
            prepare(Small(), QATConfig(fuse="training"))
        with pytest.raises(ConfigError, match="got 'lqs'"):
            QATConfig("lqs")
        with pytest.raises(ConfigError, match="fuse must be one of"):
            QATConfig(fuse=True)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="prepare takes a"):
            prepare(Small(), "lsq")
    else:
        with pytest.raises(ModelError, match="convert needs a model that"):
            convert(Small())
        model = prepare(Small(), QATConfig(), data=[x])
        with pytest.raises(ModelError, match="convert needs a model that"):
            convert(model.c1)
        model.c1.input_grid.drift.set_value(paddle.to_tensor(float("nan")))
        with pytest.raises(NonFiniteError, match="layer 'c1' input: its step is NaN"):
            convert(model)


def test_what_no_batch_reached_stays_float_with_a_warning() -> None:
    model = prepare(Small(), QATConfig())
    with pytest.warns(match="left float, since no batch reached them: c1, c2, t, fc"):
        convert(model)


def test_a_model_in_training_is_not_traced(tmp_path: Any) -> None:
    x, _ = batch()
    model = prepare(Small(), QATConfig(), data=[x])
    with pytest.raises(Exception, match="runs eagerly only"):
        paddle.jit.save(model, str(tmp_path / "m"), [paddle.static.InputSpec([None, 3, 6, 6])])


def test_mixed_precision_trains() -> None:
    x, y = batch()
    model = prepare(Small(), QATConfig(), data=[x])
    model.train()
    optimizer = sgd(model)
    for _ in range(2):
        with paddle.amp.auto_cast(dtype="bfloat16"):
            loss = F.cross_entropy(model(x).astype("float32"), y)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert np.isfinite(float(loss))
    assert all(np.isfinite(parameter.numpy()).all() for parameter in model.parameters())
