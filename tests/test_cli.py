"""The command line: errors on one line, exit statuses, and the helpers that it uses."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from ptq import __version__, cli
from ptq.util.extras import MissingExtraError, import_extra
from ptq.util.progress import progress
from quantizers.errors import QuantizationError


class Terminal(io.StringIO):
    """What stderr looks like when it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_missing_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert cli.main(["demo", "--output", str(tmp_path / "output")]) == 2
    message = capsys.readouterr().err
    assert message == "ptq: scikit-learn is not installed; run: pip install 'paddle-ptq[demo]'\n"
    assert not (tmp_path / "output").exists()


def test_output_that_cannot_be_made_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    (tmp_path / "file").touch()
    assert cli.main(["demo", "--output", str(tmp_path / "file" / "output")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("ptq: ")
    assert captured.err.count("\n") == 1
    assert "the output folder cannot be made" in captured.err
    assert not captured.out


def test_error_of_several_lines_becomes_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise QuantizationError("first\n  second")

    monkeypatch.setattr("ptq.commands.demo.run_demo", fail)
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == "ptq: first second\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--nonsense"]])
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: ptq" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"paddle-ptq {__version__}\n"


def test_extra_that_is_installed_is_imported() -> None:
    assert import_extra("json.decoder", "demo").JSONDecoder


def test_missing_extra_is_both_kinds_of_error() -> None:
    with pytest.raises(MissingExtraError, match=r"no_such_package is not installed; run: pip install 'paddle-ptq\[demo\]'") as error:
        import_extra("no_such_package.part", "demo")
    assert isinstance(error.value, ImportError)
    assert isinstance(error.value, QuantizationError)


def test_broken_extra_shows_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_extra.py").write_text("import no_such_package_inside\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_package_inside") as error:
        import_extra("broken_extra", "demo")
    assert not isinstance(error.value, MissingExtraError)


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert list(progress(iter(range(3)), total=3, description="calibrate")) == [0, 1, 2]
    assert "calibrate: 100%" in terminal.getvalue()


def test_no_progress_when_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert list(progress([1, 2], enabled=False)) == [1, 2]
    assert not terminal.getvalue()


@pytest.mark.parametrize("stderr", [io.StringIO(), None])
def test_no_progress_without_a_terminal(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None) -> None:
    items = [1, 2]
    monkeypatch.setattr(sys, "stderr", stderr)
    assert progress(items) is items


def test_no_progress_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [1, 2]
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert progress(items) is items
