"""Steps are judged, undone, cut and resumed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from models import absmax
from recovery_cases import bench_of, samples

from ptq.recovery import recipes
from ptq.recovery.ladder import climb
from ptq.recovery.recipes import Recipe, Recovery, Step
from ptq.recovery.rung import Rung
from ptq.recovery.weights import WeightSettings
from ptq.recovery.workbench import Workbench
from quantizers.errors import CalibrationError, ConfigError, CorruptArtifactError

GPTQ = Step("weights", WeightSettings(stages=0))
BIAS = Step("weights", WeightSettings("keep", stages=1))


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Step:
    """A recovery that does harm."""

    def run(bench: Workbench, _settings: object) -> None:
        for unit in bench.units:
            unit.write(-unit.integers.clip(-7, 7), unit.scale)

    monkeypatch.setattr(recipes, "STEPS", {**recipes.STEPS, "spoil": Recovery(recipes.NoSettings, run)})
    monkeypatch.setattr("ptq.recovery.ladder.STEPS", recipes.STEPS)
    return Step("spoil")


def test_what_helps_is_kept_and_what_harms_undone(spoil: Step) -> None:
    bench = bench_of()
    before = bench.score()
    told: list[str] = []
    report = climb(bench, Recipe("mine", (spoil, GPTQ, spoil)), progress=False, say=told.append)
    assert [rung.kept for rung in report.rungs] == [False, True, False]
    assert report.first == before
    assert report.last == bench.score() > before + 2
    assert (report.fit, report.held) == (60, 20)
    assert len(told) == 3
    assert "undone" in told[0]
    assert "recipe mine" in str(report)


def test_a_gain_within_its_error_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of()
    before = bench.score()
    plain = climb(bench, Recipe("mine", (GPTQ,)), progress=False).rungs[0]
    assert plain.kept
    gain = plain.after - plain.before
    assert 0 < 2 * plain.error < gain
    assert plain.inner is None
    for error, inner, is_kept in (
        (gain / 2 - 0.01, None, True),
        (gain / 2 + 0.01, (3.0, 1.4), True),
        (gain / 2 + 0.01, (3.0, 1.6), False),
        (gain / 2 + 0.01, (-3.0, 1.4), False),
    ):
        monkeypatch.setattr("ptq.recovery.judge.Judge.uncertainty", lambda *_, error=error: error)
        monkeypatch.setattr("ptq.recovery.ladder.gain_between", lambda *_, inner=inner: inner)
        bench = bench_of()
        report = climb(bench, Recipe("mine", (GPTQ,)), progress=False)
        assert report.rungs[0].kept is is_kept
        assert report.rungs[0].inner == inner
        assert (bench.score() > before) is is_kept
        assert f"± {error:.2f}" in str(report)
        assert inner is None or f"layers before: {inner[0]:+.2f} ± {inner[1]:.2f}" in str(report)


def test_a_rung_is_the_same_after_json() -> None:
    rung = Rung("weights", 1.0, 2.0, True, 3.0, inner=(0.5, 0.1))
    assert Rung(**json.loads(json.dumps(asdict(rung)))) == rung


def test_the_layers_before_do_not_outweigh_the_outputs(spoil: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptq.recovery.ladder.gain_between", lambda *_: (9.0, 0.1))
    report = climb(bench_of(), Recipe("mine", (spoil,)), progress=False)
    assert not report.rungs[0].kept
    assert report.rungs[0].inner is None


def test_a_step_for_fewer_bits_is_tried_below_them_only() -> None:
    step = Step("weights", WeightSettings(stages=0), below=8)
    assert bench_of().fewest_bits == 4
    assert len(climb(bench_of(), Recipe("mine", (step, BIAS)), progress=False).rungs) == 2
    eight = bench_of(config=absmax(8))
    assert eight.fewest_bits == 8
    assert [rung.step for rung in climb(eight, Recipe("mine", (step, BIAS)), progress=False).rungs] == [str(BIAS)]
    assert Recipe.from_dict(Recipe("mine", (step, BIAS)).to_dict()) == Recipe("mine", (step, BIAS))


def test_a_killed_run_goes_on_after_the_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, path = Recipe("mine", (BIAS, GPTQ)), tmp_path / "state.npz"
    expected = climb(bench_of(), recipe, progress=False)
    ran: list[str] = []
    real = recipes.STEPS["weights"].run

    def once(bench: Workbench, settings: WeightSettings) -> None:
        ran.append(settings.method)
        if len(ran) == 2:
            raise KeyboardInterrupt
        real(bench, settings)

    monkeypatch.setitem(recipes.STEPS, "weights", Recovery(WeightSettings, once))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        climb(bench_of(), recipe, resume=path, progress=False)
    bench = bench_of()
    report = climb(bench, recipe, resume=path, progress=False)
    assert ran == ["keep", "gptq", "gptq"]
    assert report.last == expected.last == bench.score()
    assert [rung.after for rung in report.rungs] == [rung.after for rung in expected.rungs]
    again = bench_of()
    assert climb(again, recipe, resume=path, progress=False).last == expected.last == again.score()
    assert len(ran) == 3
    with pytest.raises(CalibrationError, match="another model"):
        climb(bench_of(calls=samples(8, seed=5)), recipe, resume=path, progress=False)
    path.write_bytes(b"no file of ours")
    with pytest.raises(CorruptArtifactError, match="remove it"):
        climb(bench_of(), recipe, resume=path, progress=False)


def test_a_time_budget_ends_it_with_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of()
    assert climb(bench, Recipe("mine", (GPTQ,)), time_budget=0, progress=False).rungs == ()
    clock = iter(np.arange(0, 1000, 1.0))
    monkeypatch.setattr("ptq.recovery.ladder.time.monotonic", lambda: float(next(clock)))
    before = bench.score()
    report = climb(bench, Recipe("mine", (GPTQ, BIAS)), time_budget=4, progress=False)
    assert report.rungs[0].cut
    assert "time budget" in report.reason
    assert report.last == bench.score() >= before


def test_enough_is_enough() -> None:
    bench = bench_of()
    report = climb(bench, Recipe("mine", (GPTQ, BIAS), stop_at=bench.score() + 1), progress=False)
    assert len(report.rungs) == 1
    assert "is enough" in report.reason


def test_layers_too_large_for_the_memory_are_told() -> None:
    report = climb(bench_of(memory=1 << 14), Recipe("mine", (GPTQ,)), progress=False)
    assert "too large for the memory, left as they were: 0" in str(report)


def test_recipes_are_json(tmp_path: Path) -> None:
    for recipe in recipes.RECIPES.values():
        recipe.to_json(tmp_path / "recipe.json")
        assert recipes.recipe_named(tmp_path / "recipe.json") == recipe
        assert recipes.recipe_named(recipe.name) is recipe
        assert recipes.recipe_named(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "x"}, "not a recipe"),
        ({"version": 2}, "has version 2"),
        ({"steps": [{"step": "magic"}]}, "one of ranges"),
        ({"steps": [{"step": "weights", "speed": 3}]}, "has no speed"),
        ({"steps": [{"step": "weights", "method": "best"}]}, "method must be one of"),
        ({"steps": [{"step": "weights", "below": -1}]}, "below must be a number of bits"),
        ({"stop_at": "soon"}, "stop_at must be a number"),
        ({"more": 1}, "has no 'more'"),
    ],
)
def test_what_is_no_recipe_is_refused(values: dict[str, object], message: str) -> None:
    whole = {"format": "paddle-ptq recipe", "version": 1, "name": "mine", "steps": [], **values}
    with pytest.raises(ConfigError, match=message):
        recipes.recipe_named(whole)
    with pytest.raises(ConfigError, match="recipe must be one of"):
        recipes.recipe_named("fastest")
