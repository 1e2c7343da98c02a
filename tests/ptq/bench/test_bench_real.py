"""``python -m ptq bench`` on files that a real save wrote, in the real runtimes, each in processes of its own."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import paddle
import pytest
from fresh import ROOT, run_python
from saved_pair import IMAGE, save_pair

from ptq.bench import bench, measure
from ptq.bench.artifact import Input
from ptq.bench.runtimes import RUNTIMES
from ptq.bench.task import Task
from ptq.export.baseline import baseline_path
from ptq.export.inference.predictor import create_int8_predictor


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model saved in every format, and its baseline beside it."""
    paddle.seed(0)
    for extra in ("paddle2onnx", "onnxruntime"):
        pytest.importorskip(extra)
    path = tmp_path_factory.mktemp("saved") / "net"
    save_pair(path)
    create_int8_predictor(path)  # or Paddle Inference has no int8 engine here, and nothing could be measured
    return path


def check_row(row: dict[str, Any]) -> None:
    assert row["float ms"] > 0
    assert row["int8 ms"] > 0
    assert row["ratio quartile 1"] <= row["ratio"] <= row["ratio quartile 3"]
    # the median of ratios lies near the ratio of medians, unless the sides are mixed up
    assert 1 / 4 < row["ratio"] / (row["float ms"] / row["int8 ms"]) < 4
    assert row["rounds"] >= 2


def test_paddle_inference_measures_what_a_save_wrote(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "RUNTIMES", {"Paddle Inference": RUNTIMES["Paddle Inference"]})
    report = bench(path, batches=[3], threads=[1], rounds=2, seconds=0.0)
    rows = report.flat_rows()
    assert [(row["runtime"], row["baseline"], row["batch"]) for row in rows] == [
        ("Paddle Inference", "oneDNN float", 3),
        ("Paddle Inference", "OpenVINO float", 3),
    ]
    for row in rows:
        check_row(row)
        assert row["int8 bytes"] == sum(Path(f"{path}.infer.{kind}").stat().st_size for kind in ("pdmodel", "pdiparams"))
        assert row["float bytes"] == sum(Path(f"{baseline_path(path)}.infer.{kind}").stat().st_size for kind in ("pdmodel", "pdiparams"))


@pytest.mark.slow
def test_the_command_measures_every_runtime(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    file = tmp_path / "speed.json"
    options = ["--float", baseline_path(path), "--batch", "1", "4", "--threads", "1", "--rounds", "2", "--json", str(file)]
    process = run_python(["-m", "ptq", "bench", str(path), *options], cwd=ROOT, seconds=600)
    assert process.returncode == 0, process.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert {row["runtime"] for row in found["rows"]} == set(RUNTIMES)
    assert found["not measured"] == {}
    assert {(row["batch"], row["threads"], row["clock"]) for row in found["rows"]} == {(1, 1, "CPU"), (4, 1, "CPU")}
    for row in found["rows"]:
        check_row(row)
        for side in ("float", "int8"):
            assert row[f"{side} peak MB"] is None or 0 < row[f"{side} peak MB"] < 2000
            assert math.isfinite(row[f"{side} bytes"])
        assert bool(row["why not faster"]) == (row["ratio"] < 1.1)
    assert "Paddle Inference" in process.stdout


def test_inputs_have_the_sizes_that_were_saved(path: Path) -> None:
    asked = []

    def answer(task: Task) -> Any:
        asked.append(task.inputs)
        return {"float": [2.0], "int8": [1.0]} if task.action == "time" else 1.0

    bench(path, batches=[2], threads=[1], rounds=1, measure=answer)
    assert set(asked) == {(Input((2, *IMAGE), "float32"),)}
