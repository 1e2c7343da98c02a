"""Roundings of a saved quantized program, against the grids of the model that was saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from report_nets import Sound, batches, quantized
from saved_nets import without_checks

from ptq.layers.gridded import grids_of
from ptq.programs import Program
from ptq.programs.program import run_steps
from ptq.programs.rounding import is_join, roundings
from ptq.reports.compare import open_saved


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[paddle.nn.Layer, Program]:
    """A converted model with placement ``full``, and its artifact replayed."""
    without_checks(monkeypatch)
    result = quantized(Sound(), placement="full")
    result.save(tmp_path / "int8", verbose=False)
    program = open_saved(tmp_path / "int8").program
    assert program is not None
    return result.model, program


def test_they_are_the_grids_of_the_model(saved: tuple[paddle.nn.Layer, Program]) -> None:
    model, program = saved
    expected = sorted((float(grid.input_scale), float(grid.input_zero_point)) for grid in grids_of(model).values())
    found = roundings(program)
    assert sorted((rounding.scale, float(rounding.zero_point)) for rounding in found) == expected
    assert {rounding.quant_max for rounding in found} == {255}


def test_the_only_join_is_the_addition(saved: tuple[paddle.nn.Layer, Program]) -> None:
    program = saved[1]
    joins = [step for number, step in enumerate(program._steps) if is_join(program, number)]
    assert [step[1].function for step in joins] == ["add"]


def test_steps_are_seen_and_replaced_while_the_program_runs(saved: tuple[paddle.nn.Layer, Program]) -> None:
    program, x = saved[1], batches(1)[0]
    seen = []
    same = run_steps(program, [x], lambda number, _, result: (seen.append(number), result)[1])
    np.testing.assert_array_equal(same[0].numpy(), program(x).numpy())
    assert seen == list(range(len(program._steps)))
    last = len(program._steps) - 1
    (other,) = run_steps(program, [x], lambda number, _, result: result * 0 if number == last else result)
    assert not other.any()
