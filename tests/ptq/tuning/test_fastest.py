"""Layers that int8 makes slower are left float, whatever the clock of the machine says: times are those of the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import absmax, data
from paddle import nn
from tuning_cases import ThreeConvs, fake_times

import ptq
from ptq import ImperativePTQ, PTQConfig
from ptq.calibration.state import state_of
from ptq.registry import PTQRegistry
from ptq.tuning import Conditions
from ptq.tuning.fastest import Tuned, find_fastest
from ptq.tuning.report import FLOAT, FULL
from quantizers.errors import ConfigError, QuantizationWarning

BATCHES = [data(4, 3, 12, 12, seed=seed) for seed in range(2)]
NETS = {"faster": (1e-3, 3e-3), "slower": (3e-3, 1e-3), "alike": (1e-3, 1e-3)}


def times(first: str, second: str, third: str) -> dict[str, tuple[float, float]]:
    return {"first": NETS[first], "second": NETS[second], "third": NETS[third]}


def calibrated() -> tuple[nn.Layer, ImperativePTQ]:
    engine = ImperativePTQ(PTQConfig(absmax().in_act_quantizer, placement="full", target="onnxruntime"))
    net = ThreeConvs()
    net.eval()
    prepared = engine.quantize(net)
    ptq.calibrate(prepared, BATCHES, progress=False)
    return prepared, engine


def tuned(**more: Any) -> Tuned:
    return find_fastest(*calibrated(), Conditions(batches=(2,)), **more)


def quantized(model: nn.Layer) -> list[str]:
    names = ("first", "second", "third")
    return [name for name in names if PTQRegistry.is_quantized_layer(getattr(model, name))]


def test_what_is_faster_on_integers_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_times(monkeypatch, times("faster", "faster", "faster"))
    found = tuned()
    assert (found.report.chosen, found.leave_float, quantized(found.model)) == (FULL, (), ["first", "second", "third"])


@pytest.mark.parametrize("left", ["first", "second", "third"])
def test_what_is_slower_is_left_float(monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    names = ("first", "second", "third")
    fake_times(monkeypatch, {name: NETS["slower" if name == left else "faster"] for name in names})
    found = tuned()
    assert found.leave_float == (left,)
    assert quantized(found.model) == [name for name in names if name != left]
    assert found.report.left_float[found.report.chosen] == 1
    assert found.report.ratios[2][found.report.chosen] > max(1.0, found.report.ratios[2][FULL])


def test_where_nothing_is_faster_all_is_float_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_times(monkeypatch, times("slower", "slower", "slower"))
    with pytest.warns(QuantizationWarning, match="no int8 model is faster than float in ONNX Runtime.*all 3 layers float"):
        found = tuned()
    assert (found.report.chosen, quantized(found.model)) == (FLOAT, [])
    state = state_of(found.model)
    assert state is not None
    assert state.left_float == {"first", "second", "third"}


def test_a_choice_that_is_slower_as_a_whole_than_its_kernels_promise_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_times(monkeypatch, times("faster", "slower", "faster"), lambda name, seconds: seconds * (9 if name.startswith("choice") else 1))
    found = tuned()
    assert list(found.report.left_float)[:3] == [FULL, FLOAT, "choice1"]
    assert found.report.chosen == FULL


def test_the_calibrated_model_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_times(monkeypatch, times("faster", "slower", "faster"))
    prepared, engine = calibrated()
    found = find_fastest(prepared, engine, Conditions(batches=(2,)))
    again = engine.convert(prepared, inplace=False, leave_float=found.leave_float)
    with paddle.no_grad():
        np.testing.assert_array_equal(found.model(BATCHES[0]).numpy(), again(BATCHES[0]).numpy())


def test_in_one_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_times(monkeypatch, times("faster", "slower", "slower"))
    config = PTQConfig(absmax().in_act_quantizer, placement="fastest", target="onnxruntime")
    result = ptq.quantize_model(ThreeConvs(), BATCHES, config, recipe=None, progress=False, tuning=Conditions(batches=(2,)))
    assert quantized(result.model) == ["first"]
    assert result.report.placement == "fastest"
    assert result.report.tuning is not None
    assert result.report.tuning.layers == 3
    assert "measured in ONNX Runtime, 1 thread, float layers in f32" in str(result.report)
    assert result.report.to_dict()["tuning"]["chosen"] == result.report.tuning.chosen
    assert "int8 would make it no faster" in str(result.report.coverage)
    result.save(tmp_path / "net", formats=("jit", "onnx"), verbose=False)
    loaded = ptq.load(str(tmp_path / "net"))
    with paddle.no_grad():
        np.testing.assert_allclose(loaded(BATCHES[0]).numpy(), result.model(BATCHES[0]).numpy(), atol=1e-6)


def test_a_model_that_is_all_float_is_saved_and_not_recovered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_times(monkeypatch, times("slower", "slower", "slower"))
    net = ThreeConvs()
    net.eval()
    with pytest.warns(QuantizationWarning, match="all 3 layers float"):
        result = ptq.quantize_model(net, BATCHES, placement="fastest", progress=False, tuning=Conditions(batches=(2,)))
    assert "no recovery was tried: all layers are float" in result.report.notes
    result.save(tmp_path / "net", verbose=False, float_baseline=True)
    assert (tmp_path / "float_net.json").is_file()
    with paddle.no_grad():
        np.testing.assert_allclose(ptq.load(str(tmp_path / "net"))(BATCHES[0]).numpy(), net(BATCHES[0]).numpy(), atol=1e-6)


def test_what_cannot_be_done_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="found by measuring"):
        ImperativePTQ(PTQConfig(placement="fastest")).quantize(ThreeConvs())
    with pytest.raises(ConfigError, match="not in 'paddle_inference'"):
        ptq.quantize_model(ThreeConvs(), iter([]), placement="fastest", target="paddle_inference")
    with pytest.raises(ConfigError, match="tuning must be"):
        ptq.quantize_model(ThreeConvs(), BATCHES, placement="fastest", tuning={"threads": 2})  # type: ignore[arg-type]


def test_the_placement_survives_json() -> None:
    config = PTQConfig(placement="fastest", target="openvino")
    assert PTQConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["placement"] == "fastest"
