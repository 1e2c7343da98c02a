"""Every command and code block of the READMEs and of the pages that tell one story is real: it runs, or it is something that exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ptq import cli

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh-CN.md")
STORIES = ("docs/deployment.md", "docs/inspection.md")  # their Python blocks are one program
LANGUAGES = {"python", "bash", "text"}


def blocks(name: str) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [(match[1], match[2]) for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def of_language(name: str, language: str) -> list[str]:
    return [text for found, text in blocks(name) if found == language]


def commands() -> list[str]:
    """The lines of the bash blocks; both READMEs share theirs."""
    return [line for name in ("README.md", *STORIES) for text in of_language(name, "bash") for line in text.splitlines()]


@pytest.mark.parametrize("name", [*READMES, *STORIES])
def test_every_block_names_a_language_that_is_tested(name: str) -> None:
    assert {language for language, _ in blocks(name)} <= LANGUAGES


def test_both_languages_have_the_same_blocks() -> None:
    assert blocks(READMES[0]) == blocks(READMES[1])


def test_both_languages_have_the_same_structure() -> None:
    shapes = []
    for name in READMES:
        prose = re.sub(r"^```.*?^```$", "```", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        shapes.append(re.findall(r"^(?:#+ |- |\| --- .*|```)", prose, re.MULTILINE))
    assert shapes[0] == shapes[1]


def test_both_languages_give_the_same_figures() -> None:
    for english, chinese in zip(*((ROOT / name).read_text(encoding="utf-8").split("\n## ") for name in READMES), strict=True):
        found = [sorted(re.findall(r"(?<![A-Za-z\d])\d[\d.,]*\d|(?<![A-Za-z\d])\d", text)) for text in (english, chinese)]
        assert found[0] == found[1], english.splitlines()[0]


@pytest.mark.parametrize("number", range(len(of_language("README.md", "python"))))
def test_python_block_runs(number: int, tmp_path: Path) -> None:
    check_runs(of_language("README.md", "python")[number], tmp_path)


@pytest.mark.parametrize("name", STORIES)
def test_story_runs(name: str, tmp_path: Path) -> None:
    check_runs("\n".join(of_language(name, "python")), tmp_path)


def check_runs(code: str, folder: Path) -> None:
    script = folder / "example.py"
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}
    process = subprocess.run(
        [sys.executable, script.name], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert process.stdout.strip(), "an example should show something"
    assert "QuantizationWarning" not in process.stderr, process.stderr[-2000:]


@pytest.mark.parametrize("command", commands())
def test_command_exists(command: str) -> None:
    words = shlex.split(command)
    if words[:2] == ["pip", "install"]:
        check_install(words[2:])
    elif words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, check=True)
    else:
        assert words[:3] == ["python", "-m", "ptq"], f"{command}: no test runs this command"  # test_demo.py and test_bench.py do
        cli._parser().parse_args(words[3:])


def check_install(arguments: list[str]) -> None:
    """Checks that the only thing installed is this project, with extras that it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    match = re.fullmatch(r"\.(?:\[([\w,-]+)\])?", arguments[-1])
    assert match, f"{arguments}: not an install of this project"
    assert arguments[:-1] in ([], ["-e"])
    assert set((match[1] or "").split(",")) - {""} <= set(project["optional-dependencies"])


@pytest.mark.parametrize("name", READMES)
def test_make_targets_in_prose_exist(name: str) -> None:
    targets = set(re.findall(r"`make ([\w-]+)`", (ROOT / name).read_text(encoding="utf-8")))
    assert targets >= {"demo", "test", "test-slow", "check", "bench"}
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=True)


@pytest.mark.parametrize("name", [*READMES, *STORIES, "docs/architecture.md", "docs/calibration.md", "docs/migration.md", "CHANGELOG.md"])
def test_links_and_files_in_prose_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    linked = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    mentioned = re.findall(r"`((?:ptq|quantizers|tests|benchmarks|docs)/[\w./-]*)`", text)
    base = (ROOT / name).parent
    missing = [target for target in linked if not (base / target).exists()] + [path for path in mentioned if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("name", [*READMES, *STORIES])
def test_names_in_tables_exist(name: str) -> None:
    import quantizers
    from ptq.util import extras
    from quantizers import errors

    text = (ROOT / name).read_text(encoding="utf-8")
    for found in set(re.findall(r"`(\w+Quantizer)`", text)):
        assert hasattr(quantizers, found), found
    for found in set(re.findall(r"`(\w+(?:Error|Warning))`", text)):
        assert hasattr(errors, found) or hasattr(extras, found), found
