"""Imports point one way, and importing the package loads nothing heavy but Paddle."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the bottom to the top: a module imports from its own room and from those above it in this list.
ROOMS = (
    ("messages", "modes", "extras", "progress", "json_file", "whole_file"),
    (
        "registry",
        "config",
        "overrides",
        "override_keys",
        "override_list",
        "interception",
        "graph",
        "tracing",
        "placement",
        "observation",
        "hooks",
    ),
    ("batches", "call_spec", "calibration", "calibration_checks", "calibration_diff", "calibration_file"),
    ("programs",),
    ("layers",),
    ("passes",),
    ("ledger",),
    ("export",),
    ("attachment", "preparation", "calibrate", "conversion", "distributed", "preflight", "imperative"),
    ("analysis",),
    ("__init__",),
    ("bench", "demo", "cli", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(ROOMS) for name in names}
HEAVY = ("onnx", "onnxruntime", "matplotlib", "sklearn", "openvino", "paddle2onnx")


def modules(package: str) -> dict[str, Path]:
    """Dotted names of a package's modules; a folder's ``__init__`` has the folder's name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path, known: set[str]) -> Iterator[str]:
    """Dotted names of what a file imports, at any depth of it; ``from a import b`` is ``a.b`` where that is a module."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in known else origin


def room(module: str) -> str:
    """``ptq.layers.conv`` is in the room ``layers``; ``ptq`` itself in ``__init__``."""
    return [*module.split("."), "__init__"][1]


PTQ, QUANTIZERS = modules("ptq"), modules("quantizers")
KNOWN = {*PTQ, *QUANTIZERS}


@pytest.mark.parametrize("module", PTQ)
def test_module_has_a_room(module: str) -> None:
    assert room(module) in LEVEL, f"{PTQ[module].relative_to(ROOT)} is in no room: add it to ROOMS and to docs/architecture.md"


@pytest.mark.parametrize("module", PTQ)
def test_ptq_imports_point_one_way(module: str) -> None:
    wrong = [
        name for name in imports(module, PTQ[module], KNOWN) if name.split(".")[0] == "ptq" and LEVEL[room(name)] > LEVEL[room(module)]
    ]
    assert not wrong, f"{module} imports {wrong} from a room above its own"


@pytest.mark.parametrize("module", QUANTIZERS)
def test_quantizers_know_no_models(module: str) -> None:
    found = {name.split(".")[0] for name in imports(module, QUANTIZERS[module], KNOWN)}
    assert not found & {"ptq", "benchmarks", "tests"}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module: {name for name in imports(module, path, KNOWN) if name in KNOWN} for module, path in (PTQ | QUANTIZERS).items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_packages_do_not_import_tests_or_benchmarks() -> None:
    for module, path in PTQ.items():
        assert not {name.split(".")[0] for name in imports(module, path, KNOWN)} & {"tests", "benchmarks"}, module


def test_the_parser_sees_every_kind_of_import(tmp_path: Path) -> None:
    file = tmp_path / "conv.py"
    file.write_text(
        "import os.path\nfrom . import base\nfrom ..graph import Graph\ndef f():\n    from quantizers import kl\n", encoding="utf-8"
    )
    known = {"ptq.layers.base", "ptq.graph", "quantizers.kl"}
    assert list(imports("ptq.layers.conv", file, known)) == ["os.path", "ptq.layers.base", "ptq.graph", "quantizers.kl"]


@pytest.mark.parametrize("package", ["ptq", "quantizers"])
def test_import_is_lean(package: str) -> None:
    code = f"import sys, json, {package}; print(json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = {name.split(".")[0] for name in json.loads(process.stdout.splitlines()[-1])}
    assert package in loaded
    assert not loaded & set(HEAVY)
    if package == "quantizers":
        assert "paddle" not in loaded
