"""Placement ``full``: which tensors get a grid, that their values lie on it, in memory and reloaded, and that nothing else changes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from fresh import answers_of
from models import Branching, Net, SmallNet, calibrated, converted, data, quietly, randomize_norms, relative, small_net
from paddle import nn
from paddle.static import InputSpec
from placement_cases import RESNET20_GRIDS, full

from benchmarks.real_nets import ResNet20
from ptq import Calibration, ImperativePTQ, PTQConfig
from ptq.layers import QuantizedLayer
from ptq.layers.gridded import GRIDS, grids_of
from quantizers import AutoQuantizer, MinMaxQuantizer
from quantizers.errors import ModelError, TraceError


def _resnet20(placement: str) -> nn.Layer:
    paddle.seed(0)
    config = PTQConfig(MinMaxQuantizer(), placement=placement)
    return converted(randomize_norms(ResNet20()), data(4, 3, 32, 32), data(4, 3, 32, 32, seed=1), config=config, fuse=True)


def test_the_grids_of_resnet20_by_name() -> None:
    compute, everything = _resnet20("compute"), _resnet20("full")
    own = [layer for layer in compute.sublayers() if isinstance(layer, QuantizedLayer) and layer.input_qparams is not None]
    assert len(own) == 20
    assert not grids_of(compute)
    assert len(RESNET20_GRIDS) == 31
    assert set(grids_of(everything)) == RESNET20_GRIDS
    assert all(layer.input_qparams is None for layer in everything.sublayers() if isinstance(layer, QuantizedLayer))


def _is_on_grid(values: np.ndarray, grid: Any) -> bool:
    """By the definition of the grid, in float64: every value is an integer of 0..255 away from the zero point."""
    scale, zero_point = float(grid.input_scale), float(grid.input_zero_point)
    integers = values.astype(np.float64) / scale + zero_point
    nearest = np.rint(integers)
    return bool((np.abs(integers - nearest) < 1e-3).all() and nearest.min() >= 0 and nearest.max() <= 255)


def test_listed_tensors_lie_on_their_grids_where_compute_layers_and_additions_take_them() -> None:
    model = _resnet20("full")
    x = data(2, 3, 32, 32, seed=5) * 1.5
    results: dict[str, np.ndarray] = {}
    inputs: dict[str, np.ndarray] = {}
    handles = [
        grid.register_forward_post_hook(lambda _layer, _args, out, site=site: results.__setitem__(site, out.numpy()))
        for site, grid in grids_of(model).items()
    ]
    handles += [
        layer.register_forward_pre_hook(lambda _layer, args, name=name: inputs.__setitem__(name, args[0].numpy()))
        for name, layer in model.named_sublayers()
        if isinstance(layer, QuantizedLayer)
    ]
    answer = model(x)
    for handle in handles:
        handle.remove()
    assert set(results) == RESNET20_GRIDS
    for site, grid in grids_of(model).items():
        assert _is_on_grid(results[site], grid), site
    assert np.array_equal(answer.numpy(), results["linear"])
    sources = {"conv1": "input#0", "linear": "pool2d#0", "layer2.1.conv1": "layer2.0.relu#1", "layer2.1.conv2": "layer2.1.relu#0"}
    for layer, site in sources.items():
        assert np.array_equal(inputs[layer].reshape(-1), results[site].reshape(-1)), layer
    assert not _is_on_grid(results["layer1.0.conv2"] + 1e-2, grids_of(model)["layer1.0.conv2"])  # or this test could not fail


def test_a_residual_net_equals_the_same_net_written_out() -> None:
    """Against NumPy: SmallNet with every grid applied by hand in float64."""
    model = converted(small_net(), data(4, 3, 6, 6), config=full(), fuse=True)
    grids = grids_of(model)
    assert set(grids) == {"input#0", "relu#0", "conv2", "relu", "pool", "fc"}

    def on_grid(site: str, values: np.ndarray) -> np.ndarray:
        scale, zero_point = float(grids[site].input_scale), float(grids[site].input_zero_point)
        return (np.clip(np.rint(values / scale) + zero_point, 0, 255) - zero_point) * scale

    def conv(layer: nn.Layer, values: np.ndarray) -> np.ndarray:
        weight, bias = (t.numpy().astype(np.float64) for t in (layer.weight, layer.bias))
        padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None]

    x = data(2, 3, 6, 6, seed=7)
    stem = on_grid("relu#0", np.maximum(conv(model.conv1, on_grid("input#0", x.numpy().astype(np.float64))), 0))
    block = on_grid("relu", np.maximum(on_grid("conv2", conv(model.conv2, stem)) + stem, 0))
    pooled = on_grid("pool", block.mean((2, 3)))
    expected = on_grid("fc", pooled @ model.fc.weight.numpy().astype(np.float64) + model.fc.bias.numpy())
    step = float(grids["fc"].input_scale)
    assert np.abs(model(x).numpy() - expected).max() <= step * 1.01  # float32 sums may flip one rounding
    assert np.mean(np.abs(model(x).numpy() - expected) < step / 2) > 0.8


def _swish(x: Any) -> Any:
    return x * F.sigmoid(x)


def _two_inputs(model: nn.Layer, x: Any, y: Any) -> Any:
    return model.fc(x) + y


MODELS = {
    "shared block": (
        Net(lambda m, x: m.block(m.block(x)), block=Net(lambda m, x: F.relu(m.fc(x)) + x, fc=nn.Linear(6, 6))),
        {"input#0", "block.relu#0", "block.add#0", "block@1.relu#0", "block@1.add#0"},
    ),
    "concat and split": (
        Net(lambda m, x: paddle.concat(paddle.split(m.fc(x), 2, axis=-1)[::-1], axis=-1), fc=nn.Linear(6, 6)),
        {"input#0", "fc", "concat#0"},
    ),
    "hand-written swish": (
        Net(lambda m, x: m.b(_swish(m.a(x))), a=nn.Linear(6, 6), b=nn.Linear(6, 6)),
        {"input#0", "a", "b", "sigmoid#0", "multiply#0"},
    ),
    "sequence": (nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4)), {"input#0", "1", "2"}),
    "one layer": (nn.Linear(6, 4), {"input#0", "output"}),
    # sums of what is float anyway stay float: an int8 sum would need two conversions more
    "two inputs": (Net(_two_inputs, fc=nn.Linear(6, 6)), {"input#0", "add#0"}),
    "residuals of floats": (
        Net(lambda m, x: m.c(m.n(m.b(y := m.a(x) + x) + y)), a=nn.Linear(6, 6), b=nn.Linear(6, 6), n=nn.LayerNorm(6), c=nn.Linear(6, 4)),
        {"input#0", "add#0", "n", "c"},
    ),
    "a convolution's sum with a float": (
        Net(lambda m, x: F.gelu(x) + F.relu(m.conv(x)), conv=nn.Conv2D(2, 2, 3, padding=1)),
        {"input#0", "gelu#0", "relu#0", "add#0"},
    ),
    "a sum of sums with a convolution": (
        Net(lambda m, x: m.fc((m.conv(x) + x) + F.gelu(x)), conv=nn.Conv2D(2, 2, 1), fc=nn.Linear(4, 3)),
        {"input#0", "conv", "gelu#0", "add#0", "add#1", "fc"},
    ),
    "attention": (
        Net(lambda m, x: F.softmax(paddle.matmul(m.q(x), m.k(x), transpose_y=True) * 0.3) @ x, q=nn.Linear(6, 6), k=nn.Linear(6, 6)),
        {"input#0", "q", "k", "softmax#0", "matmul#1"},
    ),
    "float layer": (Net(lambda m, x: m.fc(F.gelu(m.fc2(x))), fc=nn.Linear(6, 6), fc2=nn.Linear(6, 6)), {"input#0", "gelu#0", "fc"}),
    "own operation before the layer": (Net(lambda m, x: m.fc(paddle.sin(x)), fc=nn.Linear(6, 6)), {"fc"}),
}


def _inputs(name: str, seed: int = 0) -> list[paddle.Tensor]:
    picture = {"a convolution's sum with a float": [(3, 2, 4, 4)], "a sum of sums with a convolution": [(3, 2, 4, 4)]}
    shapes = {"attention": [(2, 5, 6)], "two inputs": [(3, 6), (3, 6)], **picture}.get(name, [(3, 6)])
    return [data(*shape, seed=seed + index) for index, shape in enumerate(shapes)]


def _converted(name: str, rule: Any = None) -> nn.Layer:
    config = full(rule)
    config.per_channel_activations = False  # factors in front of grids depend on the rule
    engine = ImperativePTQ(config)
    prepared = engine.quantize(MODELS[name][0], fuse=True)
    for seed in (0, 3):
        prepared(*_inputs(name, seed))
    return engine.convert(prepared)


@pytest.mark.parametrize("name", MODELS)
def test_sites_copies_and_the_saved_model(name: str, tmp_path: Path) -> None:
    float_model, sites = MODELS[name]
    model, inputs = _converted(name), _inputs(name, 3)
    assert set(grids_of(model)) == sites
    expected = model(*inputs)
    assert 0 < relative(expected, float_model(*inputs)) < 0.1
    for twin in (copy.deepcopy(model), model):
        assert np.array_equal(twin(*inputs).numpy(), expected.numpy())
    again = _converted(name, MinMaxQuantizer())
    assert not np.array_equal(again(*inputs).numpy(), expected.numpy())
    again.set_state_dict(model.state_dict())
    assert np.array_equal(again(*inputs).numpy(), expected.numpy())
    ImperativePTQ().save_quantized_model(model, str(tmp_path / "m"))
    loaded = paddle.jit.load(str(tmp_path / "m"))
    loaded.eval()
    assert relative(loaded(*inputs), expected) == 0.0


def test_it_reloads_in_a_process_that_does_not_know_this_project(tmp_path: Path) -> None:
    model = converted(small_net(), data(4, 3, 6, 6), config=full(), fuse=True)
    x = data(2, 3, 6, 6, seed=3)
    paddle.jit.save(model, str(tmp_path / "plain"), input_spec=[InputSpec([None, 3, 6, 6], "float32")])
    assert np.array_equal(answers_of(tmp_path / "plain", x, tmp_path).numpy(), model(x).numpy())


def test_it_survives_pickle_and_passes_for_the_users_class() -> None:
    model = converted(small_net(), data(4, 3, 6, 6), config=full(), fuse=True)
    x = data(2, 3, 6, 6, seed=3)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again(x).numpy(), model(x).numpy())
    assert isinstance(again, SmallNet)
    assert model.__class__ is SmallNet
    assert type(model).__name__ == "SmallNet"


class Base(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: Any, mask: Any = None) -> Any:
        x = self.fc(x)
        return x if mask is None else x * mask


class Derived(Base):
    def forward(self, x: Any, mask: Any = None) -> Any:
        return F.relu(super().forward(x, mask))


def test_a_forward_that_calls_super_and_takes_keywords(tmp_path: Path) -> None:
    engine = ImperativePTQ(full())
    prepared = engine.quantize(Derived())
    prepared(data(3, 6), mask=data(3, 6, seed=1))
    model = engine.convert(prepared)
    assert set(grids_of(model)) == {"input#0", "input#1", "fc", "relu#0"}
    x, mask = data(3, 6, seed=4), data(3, 6, seed=5)
    expected = model(x, mask)
    assert np.array_equal(model(mask=mask, x=x).numpy(), expected.numpy())
    engine.save_quantized_model(model, str(tmp_path / "m"))


def test_the_users_model_is_untouched_and_calibration_changes_no_answer() -> None:
    model, x = small_net(), data(4, 3, 6, 6)
    before = model(x).numpy()
    prepared = calibrated(model, x, config=full())
    assert np.array_equal(prepared(x).numpy(), before)
    assert type(model) is SmallNet
    assert GRIDS not in model._sub_layers
    assert np.array_equal(model(x).numpy(), before)


def test_a_site_that_no_data_reaches_leaves_the_layer_a_grid_of_its_own() -> None:
    def compute(model: nn.Layer, x: Any) -> Any:
        # In eager mode another operation runs than while tracing, so the traced site never gets data.
        return model.fc(F.relu(x) if paddle.in_dynamic_mode() else F.gelu(x))

    model = Net(compute, fc=nn.Linear(6, 6))
    with pytest.warns(UserWarning, match="gelu#0"):
        twin = converted(model, data(4, 6), config=full())
    assert twin.fc.input_qparams is not None


def test_data_dependent_branches_are_refused_by_name() -> None:
    with pytest.raises(TraceError, match=r"Branching branches.*placement='compute'"):
        calibrated(Branching(), data(4, 4), config=full())
    with pytest.raises(TraceError, match="compute"):
        ImperativePTQ(full()).quantize(Branching(), input_spec=[InputSpec([None, 4], "float32")])


def test_a_forward_set_on_the_instance_is_refused() -> None:
    model = Net(lambda m, x: m.fc(x), fc=nn.Linear(6, 6))
    model.forward = lambda x: model.fc(x)
    with pytest.raises((ModelError, TraceError), match=r"forward|traced"):
        calibrated(model, data(4, 6), config=full())


@pytest.mark.parametrize("with_spec", [True, False])
def test_statistics_from_a_file_give_the_same_model(with_spec: bool, tmp_path: Path) -> None:
    batches = [data(4, 3, 6, 6), data(4, 3, 6, 6, seed=1)]
    model = small_net()
    first = calibrated(model, *batches, config=full(), fuse=True)
    Calibration.of(first).save(tmp_path / "c.npz")
    options = {"input_spec": [InputSpec([None, 3, 6, 6], "float32")]} if with_spec else {}
    second = ImperativePTQ(full()).quantize(model, fuse=True, **options)
    Calibration.load(tmp_path / "c.npz").apply(second)
    a, b = (ImperativePTQ().convert(prepared) for prepared in (first, second))
    assert set(grids_of(a)) == set(grids_of(b))
    x = data(2, 3, 6, 6, seed=3)
    assert np.array_equal(a(x).numpy(), b(x).numpy())


def test_auto_chooses_by_the_layers_that_read_a_grid() -> None:
    float_model = small_net()
    model = quietly(lambda: converted(float_model, data(16, 3, 6, 6), config=full(AutoQuantizer()), fuse=True))
    x = data(8, 3, 6, 6, seed=3)
    assert relative(model(x), float_model(x)) < 0.1
    assert all(layer.input_qparams is None for layer in model.sublayers() if isinstance(layer, QuantizedLayer))


def test_two_models_in_two_threads_answer_as_alone() -> None:
    import threading

    models = [converted(small_net(), data(4, 3, 6, 6, seed=seed), config=full(), fuse=True) for seed in (0, 1)]
    x = data(2, 3, 6, 6, seed=9)
    alone = [model(x).numpy() for model in models]
    answers: dict[int, list[np.ndarray]] = {0: [], 1: []}

    def run(index: int) -> None:
        for _ in range(20):
            answers[index].append(models[index](x).numpy())

    threads = [threading.Thread(target=run, args=(index,)) for index in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(alone):
        assert all(np.array_equal(answer, expected) for answer in answers[index])


def test_an_error_in_the_forward_leaves_nothing_behind() -> None:
    model = converted(small_net(), data(4, 3, 6, 6), config=full(), fuse=True)
    relu = paddle._C_ops.relu
    with pytest.raises(ValueError):
        model(data(2, 5, 6, 6))
    assert paddle._C_ops.relu is relu


def test_biases_lie_on_the_grid_of_the_integer_sums() -> None:
    float_model = small_net()
    float_model.fc.bias.set_value(data(5, seed=8))
    model = converted(float_model, data(4, 3, 6, 6), config=full(), fuse=True)
    grids = grids_of(model)
    for name, site in (("conv1", "input#0"), ("conv2", "relu#0"), ("fc", "pool")):
        layer = getattr(model, name)
        scale = float(grids[site].input_scale) * layer.weight_scale.numpy().astype(np.float64).reshape(-1)
        sums = layer.bias.numpy() / scale
        assert np.abs(sums - np.rint(sums)).max() < 1e-2, name  # as near as float32 comes
        assert np.abs(np.rint(sums)).max() > 100, name  # fine enough to matter little
    before = float_model.fc.bias.numpy() / (float(grids["pool"].input_scale) * model.fc.weight_scale.numpy().reshape(-1))
    assert np.abs(before - np.rint(before)).max() > 0.1  # the float model's bias is untouched
    assert np.abs(model.fc.bias.numpy() - float_model.fc.bias.numpy()).max() < 1e-3


def test_a_bias_too_large_for_32_bits_stays_float() -> None:
    model = Net(lambda m, x: m.fc(x), fc=nn.Linear(6, 4))
    model.fc.bias.set_value(model.fc.bias + 3.1)
    rounded = converted(model, data(8, 6), config=full())
    assert not np.array_equal(rounded.fc.bias.numpy(), model.fc.bias.numpy())
    model.fc.weight.set_value(model.fc.weight * paddle.to_tensor([1.0, 1.0, 1.0, 1e-12]))
    kept = converted(model, data(8, 6), config=full())
    assert np.array_equal(kept.fc.bias.numpy(), model.fc.bias.numpy())


def test_inputs_passed_by_name_get_their_own_grids() -> None:
    class Three(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Any, mask: Any, bias: Any) -> Any:
            return paddle.sin(self.fc(mask)) + paddle.sin(bias) * x

    ranges = {"x": 1.0, "mask": 10.0, "bias": 100.0}
    model = ImperativePTQ(full()).quantize(Three())
    model.eval()
    with paddle.no_grad():  # sorted by name, the mask is the last
        quietly(lambda: model(**{name: paddle.full([2, 4], value) for name, value in ranges.items()}))
    assert model.fc._quant_config.input_sites == ["input#1"]
    quantizer = grids_of(model)["input#1"]._quant_config.in_act_quantizer
    quantizer.cal_thresholds()
    assert quantizer.thresholds == [ranges["mask"]]
