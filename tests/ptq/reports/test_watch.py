"""Drift: shifted data is flagged, data of the same kind is not; counts against those written out."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import numpy as np
import paddle
import pytest
from models import absmax, calibrated, data
from report_nets import Sound, batches
from saved_nets import save_net, without_checks
from scipy import stats

import ptq
from benchmarks.real_nets import NETS, why_absent
from benchmarks.real_nets import batches as real_batches
from ptq import Calibration, Drift, ImperativePTQ
from ptq.reports.drift import TensorCounts
from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError, ModelError

SAMPLES = 128


@pytest.fixture(scope="module")
def made() -> tuple[paddle.nn.Layer, Calibration]:
    """A converted model with placement ``full``, and its calibration."""
    paddle.seed(0)
    config = absmax()
    config.placement = "full"
    net = Sound()
    net.eval()
    prepared = calibrated(net, *batches(4, SAMPLES // 4), config=config, fuse=True)
    calibration = Calibration.of(prepared)
    return ImperativePTQ().convert(prepared), calibration


def counted(made: tuple[paddle.nn.Layer, Calibration], tensors: list[paddle.Tensor], **options: float) -> Drift:
    watch = ptq.watch(*made, **{"rate": 1.0, **options})
    for x in tensors:
        watch.observe(x)
        watch.replay()
    return watch.drift


def test_data_of_the_same_kind_is_not_flagged_and_shifted_data_is(made: tuple[paddle.nn.Layer, Calibration]) -> None:
    same = counted(made, batches(8, 16, seed=100))
    assert not same.needs_calibration, str(same)
    assert len(same.tensors) >= 5
    assert "as in calibration" in str(same)
    for shifted in (batches(4, 16, scale=2.0, seed=100), [x + 1.5 for x in batches(4, 16, seed=100)]):
        drift = counted(made, shifted)
        assert drift.needs_calibration
        assert "calibrate again" in str(drift)


def test_counts_are_those_written_out(made: tuple[paddle.nn.Layer, Calibration]) -> None:
    x = batches(3, 16, scale=1.3, seed=7)
    drift = counted(made, x)
    name = "activation_grids.input#0"
    found = drift.tensors[name]
    rows = paddle.concat(x).numpy().reshape(48, -1)
    seen = paddle.concat(batches(4, SAMPLES // 4)).numpy()
    assert (found.low, found.high, found.calibrated) == (seen.min(), seen.max(), SAMPLES)
    margin = 1e-3 * (found.high - found.low)
    outside = (rows < found.low - margin) | (rows > found.high + margin)
    assert (found.samples, found.samples_outside) == (48, int(outside.any(axis=1).sum()))
    assert (found.values, found.values_outside) == (rows.size, int(outside.sum()))
    assert found.reach == pytest.approx(max(rows.max() - found.high, found.low - rows.min()) / (found.high - found.low))


def test_the_chance_is_that_of_samples_outside_the_range_of_others() -> None:
    random = np.random.default_rng(0)
    calibration, fresh, trials = 20, 30, 20_000
    draws = random.standard_normal((trials, calibration + fresh))
    low, high = draws[:, :calibration].min(axis=1, keepdims=True), draws[:, :calibration].max(axis=1, keepdims=True)
    outside = ((draws[:, calibration:] < low) | (draws[:, calibration:] > high)).sum(axis=1)
    for count in (1, 5, 10):
        counts = TensorCounts("x", 0, 1, calibration, fresh, count, fresh, count)
        assert counts.chance == pytest.approx((outside >= count).mean(), abs=0.015)
    assert TensorCounts("x", 0, 1, 20, 30).chance == 1.0
    assert stats.betabinom.sf(-1, 30, 2, 19) == 1.0


def test_counts_merge_and_survive_a_file(made: tuple[paddle.nn.Layer, Calibration], tmp_path: Path) -> None:
    x = batches(4, 16, scale=1.2, seed=3)
    whole = counted(made, x)
    parts = [counted(made, x[:1]), counted(made, x[1:])]
    parts[0].to_json(tmp_path / "part.json")
    merged = Drift.merge([Drift.from_json(tmp_path / "part.json"), parts[1]])
    assert merged == whole
    assert merged.calls == merged.replayed == 4
    with pytest.raises(ConfigError, match="merge needs"):
        Drift.merge([])
    broken = json.loads((tmp_path / "part.json").read_text(encoding="utf-8"))
    broken["tensors"][0]["samples"] = "many"
    with pytest.raises(CorruptArtifactError, match="many"):
        Drift.from_dict(broken)


def test_calls_are_kept_at_the_rate_and_bounded(made: tuple[paddle.nn.Layer, Calibration]) -> None:
    x = data(2, 3, 8, 8)
    kept = [ptq.watch(*made, seed=4) for _ in range(2)]
    chosen = [[watch.observe(x) for _ in range(1000)] for watch in kept]
    assert chosen[0] == chosen[1]  # deterministic
    assert 3 <= sum(chosen[0]) <= 20
    assert kept[0].drift.calls == 1000
    assert kept[0].replay(3) == 3
    full = ptq.watch(*made, rate=1.0, most=2)
    assert [full.observe(x) for _ in range(3)] == [True, True, False]
    assert full.replay() == 2


def test_what_is_kept_is_a_copy_and_the_model_is_left_alone(made: tuple[paddle.nn.Layer, Calibration]) -> None:
    x = data(4, 3, 8, 8).numpy()
    watch = ptq.watch(*made, rate=1.0)
    watch.observe(x)
    x[:] = 1e6
    watch.replay()
    assert not watch.drift.needs_calibration
    assert all(not layer._forward_pre_hooks for layer in made[0].sublayers())


def test_a_saved_program_and_a_saved_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_checks(monkeypatch)
    save_net(tmp_path / "net")
    program = ptq.load_program(tmp_path / "net")
    prepared = calibrated(copy.deepcopy(program), data(32, 3, 12, 12), fuse=True)
    Calibration.of(prepared).save(tmp_path / "calibration.npz")
    ImperativePTQ().save_quantized_model(prepared, str(tmp_path / "int8"), program.input_spec, verbose=False)
    watch = ptq.watch(tmp_path / "net", tmp_path / "calibration.npz", rate=1.0)
    watch.observe(data(8, 3, 12, 12, seed=1) * 5)
    watch.replay()
    assert watch.drift.needs_calibration
    with pytest.raises(ArtifactError, match="quantized"):
        ptq.watch(tmp_path / "int8", tmp_path / "calibration.npz")
    with pytest.raises(ModelError, match="knows no layer"):
        ptq.watch(paddle.nn.Sequential(paddle.nn.Linear(2, 2)), tmp_path / "calibration.npz")
    with pytest.raises(ConfigError, match="rate"):
        ptq.watch(program, tmp_path / "calibration.npz", rate=0)


@pytest.mark.slow
@pytest.mark.skipif(bool(why_absent()), reason=why_absent() or "-")
def test_a_trained_net_on_data_of_the_same_kind_and_on_shifted_data_and_what_it_costs() -> None:
    net = NETS["resnet20"]()
    prepared = ImperativePTQ(absmax()).quantize(net.model, fuse=True)
    with paddle.no_grad():
        for x in real_batches(net.calibration, 32):
            prepared(x)
    calibration = Calibration.of(prepared)
    model = ImperativePTQ().convert(prepared)
    for change, is_flagged in ((lambda x: x, False), (lambda x: x * 1.6, True), (lambda x: x + 1.5, True)):
        watch = ptq.watch(model, calibration, rate=1.0)
        for x in real_batches(net.dev[:500], 50):
            watch.observe(change(x))
            watch.replay()
        assert watch.drift.needs_calibration == is_flagged, str(watch.drift)
    watch = ptq.watch(model, calibration)
    single = [paddle.to_tensor(x[None]) for x in net.dev[:50]]
    forward = watching = 0.0
    with paddle.no_grad():
        for _ in range(8):
            start = time.process_time()
            for x in single:
                net.model(x)
            forward += time.process_time() - start
            start = time.process_time()
            for x in single:
                watch.observe(x)
            watch.replay()
            watching += time.process_time() - start
    print(f"watching costs {watching / forward:.1%} of the forwards, {watch.drift.replayed} of {watch.drift.calls} calls replayed")
    assert watching <= 0.05 * forward
