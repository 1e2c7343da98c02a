"""``python -m ptq`` and the measurements behind it, asked for what cannot be."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from hostile_case import Act, Case, Scene

from ptq import cli
from ptq.bench.measure import bench
from quantizers.errors import ArtifactError, ConfigError, QuantizationError

__all__ = ["CASES"]


def run(*arguments: str) -> None:
    """One command; what it says on its way out with status 2 becomes an error."""
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
        status = cli.main(arguments)
    lines = printed.getvalue().splitlines()
    assert (status, len(lines)) == (2, 1), printed.getvalue()
    raise QuantizationError(lines[0])


def command(name: str, says: str, *arguments: str, prepare: Callable[[Scene], object] | None = None) -> Case:
    def prepared(scene: Scene) -> Act:
        if prepare is not None:
            prepare(scene)
        return lambda: run(*arguments)

    return Case("command", name, QuantizationError, f"^ptq: .*{says}", prepared)


def usage(name: str, *arguments: str) -> Case:
    return Case("command", name, SystemExit, "^2$", lambda _: lambda: run(*arguments))


def measuring(name: str, expected: type[BaseException], says: str, *arguments: Any, **options: Any) -> Case:
    def prepare(scene: Scene) -> Act:
        pair(scene)
        return lambda: bench(*arguments, **options)

    return Case("command", name, expected, says, prepare)


def pair(scene: Scene) -> None:
    for name in ("a", "float_a", "b"):
        scene.copy(name, name)


def spoilt(scene: Scene) -> None:
    pair(scene)
    scene.write("a.onnx", b"")


def file_and_sklearn(scene: Scene) -> None:
    """Importing scikit-learn sets variables of the environment; that is its own doing."""
    pytest.importorskip("sklearn.datasets")
    scene.write("file", b"")


CASES = [
    usage("no command"),
    usage("an unknown command", "quantise"),
    usage("bench without a path", "bench"),
    usage("bench with a batch that is text", "bench", "a", "--batch", "many"),
    command("bench of nothing", r"nowhere\.ptq\.json is missing", "bench", "nowhere"),
    command("bench without a float model", r"float_b\.ptq\.json is missing", "bench", "b", prepare=pair),
    command("bench of a spoilt model", r"a\.onnx is not the file", "bench", "a", prepare=spoilt),
    command("bench that cannot write", "nowhere/x.json cannot be written", "bench", "a", "--json", "nowhere/x.json", prepare=pair),
    command("bench with batch 0", r"batch.*\[0\]", "bench", "a", "--batch", "0", prepare=pair),
    command("the demo below a file", "output folder cannot be made", "demo", "--output", "file/x", prepare=file_and_sklearn),
    measuring("bench of a number", ConfigError, " 3$", 3),
    measuring("bench against a quantized model", ConfigError, "b is quantized", "a", "b"),
    measuring("bench of a float model", ConfigError, "float_a has no quantized layer", "float_a", "float_a"),
    measuring("bench with too many threads", ConfigError, "threads is 4096", "a", threads=[4096]),
    measuring("bench with a number of batches", ConfigError, "batches.* 5$", "a", batches=5),
    measuring("bench with seconds that are text", ConfigError, "seconds.*'long'", "a", seconds="long"),
    measuring("bench without batches", ConfigError, r"batch.*\[\]", "a", batches=[]),
    measuring("bench with sizes that do not fit", ConfigError, r"--input-shape \[7\]", "a", input_shapes=[[7]]),
    measuring("bench against nothing", ArtifactError, "missing", "a", "missing"),
]
