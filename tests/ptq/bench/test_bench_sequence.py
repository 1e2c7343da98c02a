"""`ptq bench --tokens`: sizes, and figures that follow from the times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from paddle import nn
from paddle.static import InputSpec

import ptq
from ptq.bench.sequence import bench_tokens
from ptq.cli import main
from quantizers.errors import ConfigError


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sequence") / "m"
    spec = [InputSpec([None, None, 8], "float32")]
    result = ptq.quantize_weights(nn.Sequential(nn.Linear(8, 8)), input_spec=spec, keep_float=True, progress=False)
    result.save(path, float_baseline=True, verbose=False)
    return path


def test_tokens_per_second_follow_from_the_times(prefix: Path) -> None:
    asked: list[tuple[int, ...]] = []

    def measure(task: Any) -> Any:
        if task.action != "time":
            return [] if task.action == "profile" else 1.0
        asked.append(task.inputs[0].shape)
        return {"float Paddle": [0.02] * 5, "int8": [0.01] * 5}

    report = bench_tokens(prefix, tokens=[1, 16], batches=[2], threads=[1], measure=measure)
    assert set(asked) == {(2, 1, 8), (2, 16, 8)}
    rows = report.as_dict()["rows"]
    assert {row["tokens"]: round(row["int8 tokens per second"]) for row in rows} == {1: 200, 16: 3200}
    assert {row["tokens"]: round(row["float tokens per second"]) for row in rows} == {1: 100, 16: 1600}
    assert "int8 tokens/s" in report.text()


@pytest.mark.parametrize("tokens", [[], [0], ["1"], 3, [True]])
def test_numbers_that_are_none(prefix: Path, tokens: Any) -> None:
    with pytest.raises(ConfigError, match="tokens"):
        bench_tokens(prefix, tokens=tokens)


def test_sizes_are_said_once(prefix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(prefix), "--tokens", "4", "--input-shape", "4,8"]) == 2
    assert "give one of them" in capsys.readouterr().err
