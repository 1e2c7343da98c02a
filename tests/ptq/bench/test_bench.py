"""The whole measurement: with runtimes that answer from a table, and with real ones on tiny models."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import paddle
import pytest
from bench_models import FakeRuntimes, write_artifact, write_onnx_pair, write_pair
from models import small_net

from ptq import cli
from ptq.bench import bench, measure
from ptq.bench.artifact import Input
from ptq.bench.measure import RuntimeFailedError, in_process
from ptq.bench.runtimes import RUNTIMES
from ptq.bench.task import Task
from ptq.bench.worker import work
from ptq.export.baseline import baseline_path
from ptq.export.jit.program import write_jit
from ptq.runtimes.cpu import Cpu
from ptq.runtimes.profile import OpTime
from quantizers.errors import ArtifactError, ConfigError, MismatchError

TIMES = {
    "ONNX Runtime": {"float": 0.003, "int8": 0.001},
    "OpenVINO": {"float32": 0.004, "default (bf16)": 0.001, "int8": 0.001},
    "Paddle Inference": {"oneDNN float": 0.003, "OpenVINO float": 0.0024, "int8": 0.001},
    "Paddle portable": {"oneDNN float": 0.004, "plain float": 0.008, "int8": 0.010},
}
PROFILES = {
    "int8": [OpTime("compute", "Convolution", "int8", 5, 0.0004)],
    "default (bf16)": [OpTime("compute", "Convolution", "bf16", 5, 0.0009)],
}


@pytest.fixture(autouse=True)
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_processors", lambda: 4)


def test_every_runtime_batch_thread_and_baseline_is_a_row(tmp_path: Path) -> None:
    fake = FakeRuntimes(TIMES, PROFILES)
    report = bench(write_pair(tmp_path), batches=[1, 8], threads=[1, 2], measure=fake)
    found = [(row.runtime, row.baseline, row.batch, row.threads) for row in report.rows]
    baselines = [(runtime, label) for runtime, labels in TIMES.items() for label in labels if label != "int8"]
    assert sorted(found) == sorted((*pair, batch, threads) for pair in baselines for batch in (1, 8) for threads in (1, 2))
    assert {row.baseline: round(row.speed.ratio, 6) for row in report.rows if row.runtime == "Paddle Inference"} == {
        "oneDNN float": 3.0,
        "OpenVINO float": 2.4,
    }
    assert {task.inputs for task in fake.tasks if task.action == "time"} == {(Input((n, 3, 8, 8), "float32"),) for n in (1, 8)}
    assert all(Path(task.int8).is_absolute() and task.floats == baseline_path(task.int8) for task in fake.tasks)


def test_profile_and_reasons_only_where_int8_is_not_faster(tmp_path: Path) -> None:
    fake = FakeRuntimes(TIMES, PROFILES)
    report = bench(write_pair(tmp_path), batches=[1], threads=[1], measure=fake)
    assert {(task.runtime, task.label) for task in fake.tasks if task.action == "profile"} == {
        ("OpenVINO", "default (bf16)"),
        ("OpenVINO", "int8"),
    }
    why = {result.name: result.reasons for result in report.runtimes}
    assert not why["ONNX Runtime"]
    assert not why["Paddle Inference"]
    assert "the baseline is not float32: it runs 5 operations in bf16" in why["OpenVINO"]
    assert why["Paddle portable"] == (RUNTIMES["Paddle portable"].never_faster,)


class Slowing(FakeRuntimes):
    """OpenVINO in float32 is 1.5 times slower than int8 at batch 1 with one thread; int8 loses elsewhere."""

    def __call__(self, task: Task) -> Any:
        setting = task.inputs[0].shape[0] or 0, task.threads
        found = super().__call__(task)
        factor = {(1, 1): 1.0, (8, 1): 2.0, (1, 2): 3.0, (8, 2): 4.0}[setting]
        if task.action == "time":
            return {**found, "int8": [seconds * factor for seconds in found["int8"]]}
        if task.action == "profile" and task.label == "int8":
            return [{**item, "count": 10 * setting[0] + setting[1]} for item in found]
        return found


def test_every_row_that_is_not_faster_has_reasons_of_its_own(tmp_path: Path) -> None:
    times = {**TIMES, "OpenVINO": {"float32": 0.0015, "int8": 0.001}}
    floats = {"float32": [OpTime("compute", "Convolution", "f32", 5, 0.0004)]}
    fake = Slowing(times, {**PROFILES, **floats})
    report = bench(write_pair(tmp_path), batches=[1, 8], threads=[2, 1], measure=fake)
    rows = {(row.batch, row.threads): row for row in report.rows if row.runtime == "OpenVINO"}
    assert {setting: bool(row.reasons) for setting, row in rows.items()} == {(1, 1): False, (8, 1): True, (1, 2): True, (8, 2): True}
    for (batch, threads), row in rows.items():
        if row.reasons:
            assert f"gain nothing: {10 * batch + threads} Convolution" in " ".join(row.reasons)
    explained = [(t.inputs[0].shape[0], t.threads, t.label) for t in fake.tasks if t.action == "profile" and t.runtime == "OpenVINO"]
    assert sorted(explained) == sorted((*setting, label) for setting in [(8, 1), (1, 2), (8, 2)] for label in ("float32", "int8"))
    openvino = next(result for result in report.runtimes if result.name == "OpenVINO")
    assert openvino.reasons == rows[8, 1].reasons  # the slowest at the fewest threads speaks for the runtime
    found = {(row["batch"], row["threads"]): row["why not faster"] for row in report.flat_rows() if row["runtime"] == "OpenVINO"}
    assert found == {setting: list(row.reasons) for setting, row in rows.items()}


def test_int8_is_compared_in_the_precision_of_its_baseline(tmp_path: Path) -> None:
    """What is left float in a quantized file runs in the precision that was asked for."""
    times = {"float32": 0.004, "default (bf16)": 0.003, "int8, float32": 0.002, "int8, default (bf16)": 0.001}
    fake = FakeRuntimes({**TIMES, "OpenVINO": times}, PROFILES)
    report = bench(write_pair(tmp_path), batches=[1], threads=[1], measure=fake)
    rows = [row for row in report.flat_rows() if row["runtime"] == "OpenVINO"]
    assert [(row["baseline"], row["int8"], round(row["ratio"], 6)) for row in rows] == [
        ("float32", "int8, float32", 2.0),
        ("default (bf16)", "int8, default (bf16)", 3.0),
    ]
    measured = {task.label for task in fake.tasks if task.runtime == "OpenVINO" and task.action == "memory"}
    assert measured == set(times)
    assert Task("memory", "OpenVINO", "/int8", "/float", (), 1, label="int8, float32").prefix("int8, float32") == "/int8"


def test_openvino_has_an_int8_alternative_for_every_baseline() -> None:
    pytest.importorskip("openvino")
    labels = list(RUNTIMES["OpenVINO"].loaders())
    baselines = [label for label in labels if not label.startswith("int8")]
    assert baselines[0] == "float32"
    assert labels[len(baselines) :] == [f"int8, {label}" for label in baselines]


def test_tables_for_people(tmp_path: Path) -> None:
    text = bench(write_pair(tmp_path), batches=[1, 8], threads=[1], measure=FakeRuntimes(TIMES, PROFILES)).text()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "Paddle Inference OpenVINO float int8 8 1 4.80 2.00 2.40x 2.40-2.40 3" in lines
    assert "ONNX Runtime float 0.00 0.00 80.0 50.0" in lines
    settings = "; ".join(f"1.00x of default (bf16) at batch {batch} with 1 thread" for batch in (1, 8))
    assert f"OpenVINO: int8 is not faster ({settings}), because" in lines
    assert "- the portable file is smaller, not faster" in text
    assert "ONNX Runtime: int8 is not faster" not in text


@pytest.mark.parametrize(("has_vnni", "told"), [(False, True), (True, False), (None, False)])
def test_a_processor_whose_sums_saturate_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_vnni: bool | None, told: bool
) -> None:
    monkeypatch.setattr(measure, "this_cpu", lambda: Cpu("Old CPU", has_vnni))
    report = bench(write_pair(tmp_path), batches=[1], threads=[1], measure=FakeRuntimes(TIMES, PROFILES))
    assert ("(Old CPU) has no VNNI: int8 is measured in the plain setting" in report.text()) is told
    assert (report.as_dict()["cpu"], report.as_dict()["vnni"]) == ("Old CPU", has_vnni)


def test_the_command_prints_and_writes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(measure, "in_process", fake := FakeRuntimes(TIMES, PROFILES))
    path, file = write_pair(tmp_path), tmp_path / "speed.json"
    assert cli.main(["bench", path, "--batch", "4", "--threads", "1", "--rounds", "7", "--json", str(file)]) == 0
    assert "ONNX Runtime" in capsys.readouterr().out
    assert {task.rounds for task in fake.tasks} == {7}
    found = json.loads(file.read_text(encoding="utf-8"))
    row = next(row for row in found["rows"] if row["runtime"] == "ONNX Runtime")
    assert (row["batch"], row["threads"], row["clock"], row["rounds"]) == (4, 1, "CPU", 3)
    assert (row["float bytes"], row["int8 bytes"]) == (4000, 1000)
    assert (row["ratio"], row["float peak MB"], row["int8 peak MB"]) == (pytest.approx(3.0), 80.0, 50.0)
    assert row["why not faster"] == []
    assert set(found["why not faster"]) == {"OpenVINO", "Paddle portable"}


def test_files_that_were_not_saved_are_named(tmp_path: Path) -> None:
    write_artifact(tmp_path / "model")
    write_artifact(tmp_path / "float_model", suffixes=(".json", ".pdiparams"))
    report = bench(tmp_path / "model", batches=[1], threads=[1], measure=FakeRuntimes(TIMES))
    skipped = {result.name: result.skipped for result in report.runtimes}
    assert skipped["ONNX Runtime"].startswith(f"{tmp_path}/float_model.onnx not saved; save_quantized_model(")
    assert "float_model.infer.pdmodel and" in skipped["Paddle Inference"]
    assert not skipped["Paddle portable"]
    assert "not measured: OpenVINO: " in report.text()


def test_a_runtime_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    failing = {"OpenVINO": RuntimeFailedError("openvino is not installed")}
    report = bench(write_pair(tmp_path), batches=[1], threads=[1], measure=FakeRuntimes(TIMES, failing=failing))
    assert {row.runtime for row in report.rows} == {"ONNX Runtime", "Paddle Inference", "Paddle portable"}
    assert "not measured: OpenVINO: openvino is not installed" in report.text()


def test_no_runtime_at_all_is_an_error(tmp_path: Path) -> None:
    failing = {name: RuntimeFailedError(f"{name} broke") for name in RUNTIMES}
    with pytest.raises(ArtifactError, match="could not be measured: ONNX Runtime: ONNX Runtime broke; OpenVINO: OpenVINO broke"):
        bench(write_pair(tmp_path), measure=FakeRuntimes(TIMES, failing=failing))


def test_a_fixed_batch_is_the_only_one(tmp_path: Path) -> None:
    path = write_pair(tmp_path, inputs=[{"shape": [2, 3, 8, 8], "dtype": "float32"}])
    report = bench(path, batches=[1, 8], threads=[1], measure=FakeRuntimes(TIMES))
    assert {row.batch for row in report.rows} == {2}
    assert "saved for a batch of 2" in report.text()


def test_another_model_is_no_baseline(tmp_path: Path) -> None:
    write_pair(tmp_path)
    write_artifact(tmp_path / "other", [{"shape": [None, 1, 8, 8], "dtype": "float32"}])
    with pytest.raises(MismatchError, match="are not the same model"):
        bench(tmp_path / "model", tmp_path / "other", measure=FakeRuntimes(TIMES))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batches": [0]}, "batch must be whole numbers"),
        ({"batches": []}, "batch must be whole numbers"),
        ({"threads": [-1]}, "threads must be whole numbers"),
        ({"threads": [5]}, "this process may use 4 processors"),
        ({"rounds": 0}, "rounds must be whole numbers"),
        ({"rounds": True}, "rounds must be whole numbers"),
        ({"seconds": -1.0}, "seconds must be at least 0"),
        ({"seconds": float("nan")}, "seconds must be at least 0"),
    ],
)
def test_options_out_of_range(tmp_path: Path, options: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        bench(write_pair(tmp_path), measure=FakeRuntimes(TIMES), **options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere/model"], "nowhere/model.ptq.json is missing"),
        (["{model}", "--float", "nowhere/float"], "nowhere/float.ptq.json is missing"),
        (["{model}", "--batch", "0"], "batch must be whole numbers of at least 1, got [0]"),
        (["{model}", "--threads", "99"], "threads is 99"),
        (["{model}", "--input-shape", "3,9,9"], "does not fit input 0"),
        (["{model}", "--json", "nowhere/file.json"], "nowhere/file.json cannot be written"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    path = write_pair(tmp_path)
    assert cli.main(["bench", *(argument.format(model=path) for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_sizes_that_are_no_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["bench", write_pair(tmp_path), "--input-shape", "3xbig"])
    assert "'3xbig' is no list of sizes such as 3,224,224" in capsys.readouterr().err


def test_a_task_travels_as_text() -> None:
    task = Task("time", "OpenVINO", "/a", "/b", (Input((1, 3), "float32"), Input((1,), "int64")), 2, 5, 0.5, "float32")
    assert Task.from_json(task.as_json()) == task


def test_error_of_the_worker_is_told_in_one_line(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(RuntimeFailedError) as error:
        in_process(Task("time", "Paddle portable", missing, missing, (Input((1, 3), "float32"),), 1))
    assert str(error.value).startswith("RuntimeError: ")
    assert "\n" not in str(error.value)


def test_missing_runtime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openvino.py").write_text("raise ModuleNotFoundError('no openvino', name='openvino')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeFailedError, match=r"^openvino is not installed; run: pip install 'paddle-ptq\[openvino\]'$"):
        in_process(Task("time", "OpenVINO", "/a", "/b", (Input((1, 3), "float32"),), 1))


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for Python")
@pytest.mark.parametrize(("script", "words"), [("kill -ILL $$", r"\(exit -4\)"), ("echo broken >&2; exit 3", r"\(exit 3\): broken")])
def test_crash_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(RuntimeFailedError, match=words):
        in_process(Task("time", "Paddle portable", "/a", "/b", (Input((1, 3), "float32"),), 1))


def test_onnxruntime_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(measure, "RUNTIMES", {"ONNX Runtime": RUNTIMES["ONNX Runtime"]})
    report = bench(write_onnx_pair(tmp_path / "model"), batches=[2], threads=[1], rounds=3, seconds=0.0)
    (row,) = report.rows
    assert (row.baseline, row.batch, row.threads, row.speed.rounds) == ("float", 2, 1, 3)
    assert row.speed.float_ms > 0
    assert row.speed.low <= row.speed.ratio <= row.speed.high
    (result,) = report.runtimes
    assert result.int8_bytes == (tmp_path / "model.onnx").stat().st_size
    memory = result.memory_mb["int8"]
    assert memory is None or 0 < memory < 500


def test_onnxruntime_profile_of_a_quantized_convolution(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = write_onnx_pair(tmp_path / "model")
    found = {}
    for label in ("float", "int8"):
        task = Task("profile", "ONNX Runtime", path, baseline_path(path), (Input((1, 3, 8, 8), "float32"),), 1, label=label)
        found[label] = {(item["kind"], item["op"], item["precision"], item["count"]) for item in work(task)}
    assert ("compute", "Conv", "float", 1) in found["float"]
    assert {("compute", "QLinearConv", "int8", 1), ("conversion", "QuantizeLinear", "float", 1)} <= found["int8"]


def test_openvino_times_and_profiles(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    path = write_onnx_pair(tmp_path / "model")
    inputs = (Input((2, 3, 8, 8), "float32"),)
    times = work(Task("time", "OpenVINO", path, baseline_path(path), inputs, 1, rounds=2))
    assert {"float32", "int8, float32"} <= set(times)
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in times.values())
    profile = work(Task("profile", "OpenVINO", path, baseline_path(path), inputs, 1, label="int8, float32"))
    assert any(item["op"] == "Convolution" and item["kind"] == "compute" for item in profile)


def test_portable_files_run_with_and_without_onednn(tmp_path: Path) -> None:
    for name in ("model", "float_model"):
        write_jit(small_net(), str(tmp_path / name), [paddle.static.InputSpec([None, 3, 8, 8], "float32")])
    path = str(tmp_path / "model")
    task = Task("time", "Paddle portable", path, baseline_path(path), (Input((2, 3, 8, 8), "float32"),), 1, rounds=2)
    times = work(task)
    assert set(times) == {"oneDNN float", "plain float", "int8"}
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in times.values())
