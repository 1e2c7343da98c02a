"""What all benchmarks share: the schema of their results, and going on when one cannot run."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import pytest

from benchmarks import report, run_all


def test_results_have_one_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "new")
    monkeypatch.setattr("sys.argv", ["bench", "--rounds", "3"])
    rows = [{"a": 1.5, "none": math.nan, "more": math.inf, "less": -math.inf, "list": (1, math.nan), "text": "inf?"}]
    found = json.loads(report.write_json("trial", rows, rounds=3).read_text(encoding="utf-8"))
    assert list(found) == ["benchmark", "command", "settings", "machine", "versions", "rows"]
    assert (found["command"], found["settings"]) == ("python -m benchmarks.bench_trial --rounds 3", {"rounds": 3})
    assert found["machine"].keys() == {"cpu", "flags", "cores", "system"}
    assert found["versions"].keys() == {"python", *report.PACKAGES}
    assert all(found["versions"][name] for name in ("python", "numpy"))
    # what does not exist and what is without bound are told apart
    assert found["rows"] == [{"a": 1.5, "none": None, "more": "inf", "less": "-inf", "list": [1, None], "text": "inf?"}]


def test_the_processor_is_named(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    lines = ["processor : 0", "cpu family\t: 6", "model\t\t: 143", "model name\t: Some CPU", "flags\t\t: fpu avx512_vnni", "model name : x"]
    cpuinfo.write_text("\n".join(lines), encoding="utf-8")
    assert report._processor(cpuinfo) == ("Some CPU (cpu family 6, model 143)", {"fpu", "avx512_vnni"})
    assert report._processor(tmp_path / "absent")[1] == set()


def test_a_table_of_rows_with_other_keys(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_table([{"a": 1.25, "b": math.nan}, {"a": math.inf, "c": "x"}], {"a": "{:.1f}"})
    assert [line.split() for line in capsys.readouterr().out.splitlines()[2:]] == [["1.2", "-", "-"], ["inf", "-", "x"]]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([0, 0, 0], 0), ([0, run_all.LEFT_OUT, 0], run_all.LEFT_OUT), ([run_all.LEFT_OUT, 1, 0], 1), ([0, 0, -9], 1)],
)
def test_all_are_run_and_the_worst_is_told(statuses: list[int], expected: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["first", "second", "third"]
    ran: list[str] = []

    def run(name: str) -> int:
        ran.append(name)
        return statuses[names.index(name)]

    assert run_all.main(names, run) == expected
    assert ran == names
    summary = capsys.readouterr().out.split("== summary\n")[1].splitlines()
    assert [line.split(":")[0] for line in summary] == names
    assert ["left out" in line for line in summary] == [status == run_all.LEFT_OUT for status in statuses]


def test_every_benchmark_is_run() -> None:
    assert run_all.names() == sorted(f"benchmarks.{path.stem}" for path in Path(run_all.__file__).parent.glob("bench_*.py"))
    assert len(run_all.names()) >= 8
    assert set(run_all.SHORT) <= set(run_all.names())


@pytest.mark.parametrize("name", run_all.names())
def test_every_benchmark_can_be_imported(name: str) -> None:
    """They are run by hand: a name of the package that has moved is to be seen before."""
    assert importlib.import_module(name).__doc__
