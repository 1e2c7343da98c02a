"""Recipes, widths and layers left float through the one call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from recovery_cases import samples, small_net

import ptq
from ptq import PTQConfig, QuantOverride
from ptq.recovery.recipes import Recipe, Step
from ptq.recovery.weights import WeightSettings
from quantizers.errors import ConfigError

BATCHES = [sample.call()[0][0] for sample in samples(5)]
QUICK = Recipe("quick", (Step("weights", WeightSettings(stages=1)),))


def bits_of(model: Any) -> dict[str, tuple[int, int]]:
    return {name: (model[int(name)]._weight_bits, model[int(name)].input_qparams.num_bits) for name in ("0", "2", "6")}


def test_a_recipe_gains_and_says_what(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "quick.json"
    QUICK.to_json(path)
    result = ptq.quantize_model(small_net(), BATCHES, recipe=path, weight_bits=4)
    ladder = result.report.recovery
    assert ladder is not None
    assert ladder.last > ladder.first + 2
    assert (ladder.fit, ladder.held) == (24, 16)
    assert "recipe quick" in str(result.report)
    assert "kept" in capsys.readouterr().out
    stored = json.loads(json.dumps(result.report.to_dict()))
    assert stored["recovery"]["rungs"][0]["kept"] is True
    assert list(result.report.seconds)[-1] == "recover"


def test_the_same_seed_gives_the_same_model() -> None:
    x = BATCHES[0]
    first, second = (
        ptq.quantize_model(small_net(), BATCHES, recipe=QUICK, weight_bits=4, seed=3, progress=False).model(x) for _ in range(2)
    )
    np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_few_samples_run_no_recipe_and_the_report_says_so() -> None:
    report = ptq.quantize_model(small_net(), BATCHES[:2], max_float_macs=0.5).report
    assert report.recovery is None
    assert report.notes == ("no recovery was tried: 16 samples, of which 16 would have to judge; give 32 or more",)
    assert ptq.quantize_model(small_net(), BATCHES[:2], recipe=None).report.notes == ()


def test_low_bits_leave_eight_at_the_ends() -> None:
    options: dict[str, Any] = {"weight_bits": 4, "activation_bits": 6, "recipe": None}
    assert bits_of(ptq.quantize_model(small_net(), BATCHES, **options).model) == {"0": (8, 8), "2": (4, 6), "6": (8, 8)}
    config = PTQConfig(overrides={"6": QuantOverride(weight_bits=5)})
    found = bits_of(ptq.quantize_model(small_net(), BATCHES, config, **options).model)
    assert found == {"0": (8, 8), "2": (4, 6), "6": (5, 8)}
    assert config.wt_quantizer.quant_bits == 8


def test_layers_left_float() -> None:
    result = ptq.quantize_model(small_net(), BATCHES, recipe=None, weight_bits=3, max_float_macs=0.3, placement="full", progress=False)
    (note,) = result.report.notes
    assert "left float" in note
    assert 0 < 1 - result.report.coverage.int8_share <= 0.3


def test_a_metric_of_the_users_own_judges() -> None:
    seen = []

    def metric(expected: Any, answers: Any) -> float:
        seen.append((len(expected), answers[0][0].shape[1:]))
        return -float(np.mean([np.abs(a[0] - b[0]).max() for a, b in zip(expected, answers, strict=True)]))

    report = ptq.quantize_model(small_net(), BATCHES, recipe=QUICK, weight_bits=4, metric=metric, progress=False).report
    assert report.recovery is not None
    assert report.recovery.last < 0
    assert (5, (5,)) in seen


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "fastest"}, "recipe must be one of"),
        ({"weight_bits": 9}, "weight_bits must be a whole number from 2 to 8"),
        ({"activation_bits": 3}, "activation_bits must be a whole number from 4 to 16"),
        ({"max_float_macs": 2}, "max_float_macs must be a share"),
        ({"metric": "dB"}, "metric must be a function"),
        ({"time_budget": -1}, "time_budget must be"),
        ({"seed": -1}, "seed must be"),
        ({"memory": 1}, "memory must be"),
    ],
)
def test_arguments_are_checked_first(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ptq.quantize_model("no model at all", BATCHES, **options)


@pytest.mark.slow
def test_int8_kernels_stay(tmp_path: Path) -> None:
    """A recovered model has the kernels of the same model without recovery, in the runtime's own count, and its own answers."""
    pytest.importorskip("onnxruntime")
    from ptq.runtimes import onnxruntime

    x, counts = BATCHES[0], []
    for recipe in (None, "balanced"):
        result = ptq.quantize_model(small_net(), BATCHES, placement="full", recipe=recipe, weight_bits=4, progress=False)
        result.save(tmp_path / "net", ("onnx",), verbose=False)
        found = onnxruntime.profile(str(tmp_path / "net.onnx"), [x.numpy()], 1)
        counts.append(sorted((item.op, item.precision, item.count) for item in found if item.kind == "compute"))
    assert result.report.recovery is not None
    assert any(rung.kept for rung in result.report.recovery.rungs)
    assert counts[0] == counts[1]
    assert {precision for _, precision, _ in counts[0]} == {"int8"}
    with paddle.no_grad():
        assert np.isfinite(result.model(x).numpy()).all()
