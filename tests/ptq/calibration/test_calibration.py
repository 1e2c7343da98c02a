"""`Calibration`: apart from the model, merged in any order, put into another model."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from calibration_cases import calibration, file_bytes, prepared, samples, thresholds
from models import Net, absmax, quietly, small_net
from paddle import nn

from ptq import Calibration, ImperativePTQ, PTQConfig, calibrate
from ptq.calibration.call_spec import check_call, encode, merge_nodes
from quantizers import (
    AbsmaxQuantizer,
    AutoQuantizer,
    AvgAbsmaxQuantizer,
    BaseQuantizer,
    HistQuantizer,
    KLQuantizer,
    MovingAverageAbsmaxQuantizer,
    MSEQuantizer,
)
from quantizers.errors import CalibrationError, ConfigError, ModelError, NoCalibrationDataError, NonFiniteError, TraceError

RULES = [KLQuantizer(), MSEQuantizer(), HistQuantizer(), AvgAbsmaxQuantizer(), AbsmaxQuantizer(), MovingAverageAbsmaxQuantizer()]


def cuts(data: np.ndarray, *sizes: int) -> list[np.ndarray]:
    """Batches of these sizes."""
    return np.split(data, np.cumsum(sizes)[:-1])


class OwnQuantizer(BaseQuantizer):
    """A user's quantizer without statistics."""

    def sample_data(self, layer: Any, tensors: Any) -> None:
        del layer
        self.abs_max_vals = [max(float(tensor.abs().max()) for tensor in tensors)]

    def cal_thresholds(self) -> None:
        self.thresholds = self.abs_max_vals


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_applied_thresholds_equal_those_of_the_calibrated_model(rule: BaseQuantizer, fuse: bool, tmp_path: Path) -> None:
    model = prepared(rule, fuse=fuse)
    calibrate(model, cuts(samples(), 5, 7)).save(tmp_path / "a.ptqc")
    other = prepared(rule, fuse=fuse)
    Calibration.load(tmp_path / "a.ptqc").apply(other)
    expected, found = ImperativePTQ().convert(model), ImperativePTQ().convert(other)
    assert thresholds(found) == thresholds(expected)
    x = paddle.to_tensor(samples())
    np.testing.assert_array_equal(found(x).numpy(), expected(x).numpy())


def test_a_file_from_one_rule_serves_another() -> None:
    model = prepared(MSEQuantizer(), fuse=True)
    calibration([samples()], KLQuantizer(), fuse=True).apply(model)
    direct = prepared(MSEQuantizer(), fuse=True)
    direct(paddle.to_tensor(samples()))
    assert thresholds(ImperativePTQ().convert(model)) == thresholds(ImperativePTQ().convert(direct))


def test_an_applied_model_is_saved_without_data(tmp_path: Path) -> None:
    found, model = calibration([samples()], fuse=True), prepared(fuse=True)
    found.apply(model)
    ImperativePTQ().save_quantized_model(model, str(tmp_path / "net"))  # no input_spec
    x = paddle.to_tensor(samples(5))
    expected = prepared(fuse=True)
    expected(paddle.to_tensor(samples()))
    answer = paddle.jit.load(str(tmp_path / "net"))(x)
    np.testing.assert_allclose(answer.numpy(), ImperativePTQ().convert(expected)(x).numpy(), rtol=0, atol=1e-5)


def test_the_file_does_not_depend_on_batches_order_or_shards() -> None:
    data = samples()
    expected = file_bytes(calibration([data]))
    assert file_bytes(calibration(cuts(data, 1, 4, 7))) == expected
    assert file_bytes(calibration([data[::-1].copy()])) == expected
    shards = [calibration(batches) for batches in (cuts(data[:3], 1, 2), [data[3:5]], cuts(data[5:], 2, 2, 3))]
    for order in itertools.permutations(shards):
        assert file_bytes(Calibration.merge(order)) == expected
    assert file_bytes(Calibration.merge([Calibration.merge(shards[1:]), shards[0]])) == expected
    assert Calibration.merge(shards) == calibration([data])
    assert Calibration.merge(shards[:1]) == shards[0]


def test_shards_are_left_as_they_are() -> None:
    parts = [calibration([samples(4)]), calibration([samples(4, seed=1)])]
    before = [file_bytes(part) for part in parts]
    Calibration.merge(parts)
    assert [file_bytes(part) for part in parts] == before


def branching(threshold: float) -> nn.Layer:
    """A net whose second Linear sees only batches with large values."""
    paddle.seed(0)
    return Net(lambda m, x: m.b(m.a(x)) if float(x.max()) > threshold else m.a(x), a=nn.Linear(4, 4), b=nn.Linear(4, 2))


def test_layers_that_one_shard_lacks_are_kept() -> None:
    small, large = np.full((2, 4), 0.5, "float32"), np.full((2, 4), 5.0, "float32")

    def run(batches: list[np.ndarray]) -> Calibration:
        return quietly(lambda: calibrate(ImperativePTQ(absmax()).quantize(branching(1.0)), batches))

    parts = [run([small]), run([large])]
    assert [sorted(part.layers) for part in parts] == [["a"], ["a", "b"]]
    assert file_bytes(Calibration.merge(parts)) == file_bytes(Calibration.merge(parts[::-1])) == file_bytes(run([small, large]))


def test_what_cannot_be_merged() -> None:
    moving = [calibration([samples()], MovingAverageAbsmaxQuantizer()) for _ in range(2)]
    with pytest.raises(CalibrationError, match=r"layer 'conv1' input: .*moving average"):
        Calibration.merge(moving)
    with pytest.raises(ConfigError, match=r"layer 'conv1' input: .*same settings"):
        Calibration.merge([calibration([samples()]), calibration([samples()], KLQuantizer(bins=1024))])
    model = ImperativePTQ(absmax()).quantize(nn.Sequential(("conv1", nn.Linear(4, 4))))
    with pytest.raises(CalibrationError, match="'conv1' is a Conv2D in one part and a Linear in another"):
        Calibration.merge([calibration([samples()]), calibrate(model, [np.ones((2, 4))])])
    for parts in ([], [calibration([samples()]), "a.ptqc"]):
        with pytest.raises(ConfigError, match="at least one Calibration"):
            Calibration.merge(parts)  # type: ignore[arg-type]


def test_apply_refuses_another_model_and_changes_nothing() -> None:
    model = ImperativePTQ(absmax()).quantize(nn.Sequential(("conv1", nn.Conv2D(3, 4, 3)), ("fc", nn.ReLU())))
    model(paddle.to_tensor(samples()))
    before = file_bytes(Calibration.of(model))
    with pytest.raises(
        CalibrationError, match=r"layer 'bn2' is a BatchNorm2D in the calibration, not observed.*'fc' is a Linear .* a ReLU"
    ):
        calibration([samples()]).apply(model)
    assert file_bytes(Calibration.of(model)) == before


def test_apply_refuses_rules_that_need_more() -> None:
    with pytest.raises(CalibrationError, match="layer 'conv1' input has no moving average, which MovingAverageAbsmaxQuantizer needs"):
        calibration([samples()]).apply(prepared(MovingAverageAbsmaxQuantizer()))
    with pytest.raises(CalibrationError, match="layer 'conv1' input is a OwnQuantizer's in the model"):
        calibration([samples()]).apply(prepared(OwnQuantizer()))


def test_apply_replaces_what_the_model_saw() -> None:
    model, expected = prepared(), calibration([samples()])
    model(paddle.to_tensor(samples() * 100))
    expected.apply(model)
    assert Calibration.of(model) == expected
    model(paddle.to_tensor(samples()))
    assert Calibration.of(model) == Calibration.merge([expected, expected])  # and it goes on from there


def test_copies_share_nothing() -> None:
    model = prepared()
    model(paddle.to_tensor(samples()))
    found = Calibration.of(model)
    before = file_bytes(found)
    model(paddle.to_tensor(samples() * 100))
    other = prepared()
    found.apply(other)
    other(paddle.to_tensor(samples() * 100))
    assert file_bytes(found) == before


def test_only_a_model_under_calibration_has_one() -> None:
    converted = prepared()
    converted(paddle.to_tensor(samples()))
    converted = ImperativePTQ().convert(converted)
    for model in (small_net(), converted, "model"):
        with pytest.raises(ModelError, match=r"prepared with ImperativePTQ.quantize"):
            Calibration.of(model)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=r"prepared with ImperativePTQ.quantize"):
            calibration([samples()]).apply(model)  # type: ignore[arg-type]
    with pytest.raises(NoCalibrationDataError, match="SmallNet has seen no calibration data"):
        Calibration.of(prepared())


def test_a_model_that_saw_nan_has_none() -> None:
    model = prepared()
    with pytest.raises(NonFiniteError):
        model(paddle.to_tensor(samples() * np.float32(np.nan)))
    with pytest.raises(NonFiniteError, match="NaN"):
        Calibration.of(model)


def test_own_quantizers_calibrate_but_are_not_stored(tmp_path: Path) -> None:
    model = prepared(OwnQuantizer())
    found = calibrate(model, [samples()])
    for use in (lambda: found.save(tmp_path / "a.ptqc"), lambda: found.apply(model), lambda: Calibration.merge([found])):
        with pytest.raises(CalibrationError, match=r"layer 'conv1' input \(OwnQuantizer\)"):
            use()
    assert not list(tmp_path.iterdir())
    assert ImperativePTQ().convert(model)(paddle.to_tensor(samples())).shape == [12, 5]


def test_fusing_needs_shapes_when_there_is_no_data() -> None:
    found = calibration([samples()], fuse=True)
    found.input_spec = None
    with pytest.raises(CalibrationError, match="pass input_spec to quantize"):
        found.apply(prepared(fuse=True))
    found.apply(prepared(fuse=True, input_spec=[paddle.static.InputSpec([None, 3, 8, 8], "float32")]))


def test_a_failed_preparation_can_be_repeated() -> None:
    found, model = calibration([samples()], fuse=True), prepared(fuse=True)
    good, found.input_spec = found.input_spec, encode(((1, 2, 3), {}))
    with pytest.raises(TraceError):
        found.apply(model)
    found.input_spec = good
    found.apply(model)
    assert Calibration.of(model).layers == found.layers


def test_specs_merge_in_any_order() -> None:
    spec = paddle.static.InputSpec
    calls: list[Any] = [
        ((spec([None, 3, 8], "float32"), 1), {"k": [spec([2], "int64")]}),
        ((spec([None, 3, 9], "float32"), 2), {"k": [spec([2], "int64")]}),
        ((spec([None, 4, 9], "float32"), 1), {"k": [spec([3], "int64")]}),
        ((spec([None, 3], "float32"), None), {"k": [spec([2], "float32")]}),
        ((spec([None, 3], "float32"),), {}),
        ((object(), 1), {"k": "text"}),
    ]
    nodes = [encode(call) for call in calls]
    for node in nodes:
        check_call(node)
    for group in itertools.combinations([None, *nodes], 3):
        merged = []
        for a, b, c in itertools.permutations(group):
            merged += [merge_nodes(merge_nodes(a, b), c), merge_nodes(a, merge_nodes(b, c))]
        assert all(node == merged[0] for node in merged)
    shape = merge_nodes(nodes[0], nodes[1])["tuple"][0]["tuple"][0]["tensor"]["shape"]  # type: ignore[index]
    assert shape == [None, 3, None]


def test_arguments_of_other_types_are_named_when_they_are_needed() -> None:
    class Mode:
        pass

    def net() -> nn.Layer:
        paddle.seed(0)
        return Net(lambda m, x, _mode: m.fc(x), fc=nn.Linear(4, 2))

    model = ImperativePTQ(absmax()).quantize(net())
    found = quietly(lambda: calibrate(model, [[np.ones((2, 4)), Mode()]], input_fn=tuple))
    with pytest.raises(CalibrationError, match="an argument of type Mode"):
        found.apply(ImperativePTQ(absmax()).quantize(net()))


def test_configs_do_not_share_the_adopted_statistics() -> None:
    config = PTQConfig(KLQuantizer())
    model = ImperativePTQ(config).quantize(small_net())
    quietly(lambda: calibration([samples()]).apply(model))
    assert config.in_act_quantizer.statistics == []


class WithOption(nn.Layer):
    """Takes its second input or leaves it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: paddle.Tensor, y: paddle.Tensor | None = None) -> paddle.Tensor:
        return self.fc(x if y is None else x + y)


@pytest.mark.xfail(strict=True, reason="apply clears the kept samples but not their specs, so that later ones get those of earlier ones")
def test_data_that_comes_after_apply_is_restored_as_it_was() -> None:
    engine, x = ImperativePTQ(PTQConfig(AutoQuantizer())), paddle.to_tensor(samples()[:4, 0, 0, :4])
    source, model = engine.quantize(WithOption()), engine.quantize(WithOption())
    with paddle.no_grad():
        for prepared_model in (source, model):
            prepared_model(x)
        Calibration.of(source).apply(model)
        model(x, x * 2.0)
        assert paddle.isfinite(engine.convert(model)(x)).all()


@pytest.mark.xfail(strict=True, reason="a call whose arguments differ in kind keeps the spec of the first one, whichever that was")
def test_calls_of_different_kinds_give_one_spec_in_any_order() -> None:
    x = paddle.to_tensor(samples()[:4, 0, 0, :4])
    found = []
    for order in (1, -1):
        paddle.seed(0)
        model = ImperativePTQ(PTQConfig()).quantize(WithOption())
        with paddle.no_grad():
            for call in [(x,), (x, x)][::order]:
                model(*call)
        found.append(Calibration.of(model))
    assert found[0].input_spec == found[1].input_spec
    assert found[0] == found[1]
