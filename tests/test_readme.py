"""Every command and code block of the READMEs and of the pages that tell one story is real: it runs, or it is something that exists."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ptq import cli
from ptq.runtimes.cpu import this_cpu

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh-CN.md")
STORIES = ("docs/deployment.md", "docs/inspection.md")  # their Python blocks are one program
LANGUAGES = {"python", "bash", "text"}
CALIBRATION = "docs/calibration.md"


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


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What a page's program prints; it runs once."""

    @functools.cache
    def printed(name: str) -> str:
        return check_runs("\n".join(of_language(name, "python")), tmp_path_factory.mktemp("story"))

    return printed


@pytest.mark.parametrize("name", STORIES)
def test_story_runs(name: str, story: Callable[[str], str]) -> None:
    assert story(name)


# Figures of a printed output that depend on the machine and the versions: sizes, decibels, differences, seconds.
VARYING = re.compile(r"\d[\d.,]*(?:e[+-]\d+)?|\binf\b")
# Elsewhere only what is measured on random inputs: its last digit depends on how a processor sums.
MEASURED = re.compile(r"\d+\.\d+ bits apart")


@pytest.mark.parametrize("name", STORIES)
def test_printed_output_is_what_a_page_shows(name: str, story: Callable[[str], str]) -> None:
    """Line by line; in a page that measures, figures may differ. ``...`` stands for the rest."""
    if name == "docs/deployment.md" and this_cpu().saturates:
        pytest.skip("a report names what a processor without VNNI cannot check, which the page does not show")
    lines = [line.rstrip() for line in story(name).splitlines()]
    for text in of_language(name, "text"):
        shown = [line.rstrip() for line in text.splitlines() if line != "..."]
        varying = MEASURED if name == "docs/inspection.md" else VARYING
        found, expected = ([varying.sub("#", line) for line in text] for text in (lines, shown))
        starts = [start for start, line in enumerate(found) if line == expected[0]]
        assert starts, f"{shown[0]!r} is not printed"
        assert any(found[start : start + len(expected)] == expected for start in starts)


@pytest.mark.parametrize("name", READMES)
def test_the_demo_prints_the_rows_that_are_shown(name: str) -> None:
    """The rows and what is in their columns; ``tests/test_demo.py`` runs it and checks the figures."""
    (shown,) = (text for text in of_language(name, "text") if "agreement with float" in text)
    from ptq.commands import demo

    source = Path(demo.__file__).read_text(encoding="utf-8")
    rows = [re.split(r" {2,}", line)[0] for line in shown.splitlines()[2:]]
    assert len(rows) == 11
    assert not [row for row in rows if row.removeprefix("time: ") not in source]


# What the page leaves to the reader: a model, batches, a data set, shards.
YOURS = """
import paddle
from pathlib import Path
from paddle import nn
from quantizers import MSEQuantizer
paddle.seed(0)
float_model = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
float_model.eval()
samples = paddle.randn([12, 3, 6, 6])
loader = [samples[start : start + 4] for start in range(0, 12, 4)]
dataset = paddle.io.TensorDataset([samples])
shard = lambda index: [loader[index]]
"""
SHARDS = "\nfor index in range(3):\n    calibrate_shard(index)\n"


def test_calibration_page_is_one_program(tmp_path: Path) -> None:
    """All its blocks but that of several processes, and what they promise of the results."""
    blocks = [block for block in of_language(CALIBRATION, "python") if "# calibrate.py" not in block]
    assert len(blocks) == 4
    definition, rest = blocks[3].split("\n\n\n", 1)
    program = [YOURS, *blocks[:3], definition, SHARDS, rest, "calibration.save('whole.ptqc'); merged.save('merged.ptqc')"]
    check_runs("\n".join([*program, "print(open('whole.ptqc', 'rb').read() == open('merged.ptqc', 'rb').read())"]), tmp_path)
    assert (tmp_path / "whole.ptqc").read_bytes() == (tmp_path / "merged.ptqc").read_bytes()
    assert (tmp_path / "resnet.ptqc").is_file()


# What the page on PaddleSlim finds in the folder: a net saved by Paddle 2's kind of program.
LENET = """
import paddle
paddle.seed(0)
model = paddle.vision.models.LeNet()
model.eval()
with paddle.pir_utils.DygraphOldIrGuard():
    paddle.jit.save(model, "lenet/model", input_spec=[paddle.static.InputSpec([None, 1, 28, 28], "float32")])
print("saved")
"""


def test_migration_page_runs(tmp_path: Path) -> None:
    (block,) = of_language("docs/migration.md", "python")
    check_runs(LENET, tmp_path)
    assert "onnx" in check_runs(block, tmp_path).lower()
    written = {path.name for path in (tmp_path / "lenet_int8").iterdir()}
    assert written >= {"model.json", "model.infer.pdmodel", "model.onnx"}


@pytest.mark.slow
def test_calibration_page_in_several_processes(tmp_path: Path) -> None:
    (block,) = (block for block in of_language(CALIBRATION, "python") if "# calibrate.py" in block)
    (tmp_path / "calibrate.py").write_text(YOURS + block, encoding="utf-8")
    (command,) = of_language(CALIBRATION, "sh")
    words = shlex.split(command)
    assert words[0] == "python"
    process = subprocess.run(
        [sys.executable, *words[1:]], cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:] + process.stdout[-2000:]
    assert (tmp_path / "int8" / "resnet.json").is_file()


def check_runs(code: str, folder: Path) -> str:
    """What the code prints in a process of its own."""
    script = folder / "example.py"
    script.write_text(code, encoding="utf-8")
    process = subprocess.run(
        [sys.executable, script.name], cwd=folder, env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert process.stdout.strip(), "an example should show something"
    told = [line for line in process.stderr.splitlines() if "QuantizationWarning" in line]
    if this_cpu().saturates:  # examples quantize weights to 8 bits, of which the user of such a processor is to be warned
        told = [line for line in told if "has no VNNI" not in line]
    assert not told, process.stderr[-2000:]
    return process.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}


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
