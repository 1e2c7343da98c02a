"""Imports point one way, and importing the package loads nothing heavy but Paddle."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the bottom to the top: a module imports from its own room and from those before it in this list.
ROOMS = (
    *("util", "registry", "sites", "config", "graph", "programs", "placement", "layers", "passes", "calibration", "convert", "runtimes"),
    *("reports.coverage", "reports.check", "export", "data", "reports.compare", "distributed", "imperative", "recovery", "tuning"),
    *("quantize_model", "weights", "training", "qat"),
    *("reports.accuracy", "reports.advice", "reports.page", "reports.report", "reports.drift", "slim"),
    *("__init__", "trainer", "bench", "ocr", "commands", "cli", "__main__"),
)
LEVEL = {name: level for level, name in enumerate(ROOMS)}
# The same for the rooms of `quantizers`.
NUMBER_ROOMS = ("errors", "statistics", "grids", "weights", "rules", "__init__")
HEAVY = ("yaml", "onnx", "onnxruntime", "matplotlib", "sklearn", "openvino", "paddle2onnx")


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
    """``ptq.layers.conv`` is in the room ``layers``; ``ptq`` itself in ``__init__``; each part of ``reports`` is a room of its own."""
    parts = [*module.split("."), "__init__"][1:]
    return ".".join(parts[:2]) if parts[0] == "reports" and len(parts) > 2 else parts[0]


PTQ, QUANTIZERS = modules("ptq"), modules("quantizers")
KNOWN = {*PTQ, *QUANTIZERS}


def test_every_module_has_a_room() -> None:
    homeless = [module for module in PTQ if room(module) not in LEVEL and module != "ptq.reports"]
    homeless += [module for module in QUANTIZERS if room(module) not in NUMBER_ROOMS]
    assert not homeless, f"{homeless}: add them to ROOMS and to docs/architecture.md"


def test_every_room_exists() -> None:
    assert {room(module) for module in PTQ} - {"reports"} == set(ROOMS)
    assert {room(module) for module in QUANTIZERS} == set(NUMBER_ROOMS)


def test_the_map_lists_the_rooms() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("## Rooms") : text.index("## The life of a model")]
    named = re.findall(r"^\| `ptq/([\w/]+?)(?:/|\.py)?`", table, flags=re.MULTILINE)
    assert [name.replace("/", ".") for name in named] == list(reversed(ROOMS))


@pytest.mark.parametrize("module", PTQ)
def test_ptq_imports_point_one_way(module: str) -> None:
    used = [name for name in imports(module, PTQ[module], KNOWN) if name.split(".")[0] == "ptq"]
    wrong = [name for name in used if LEVEL[room(name)] > LEVEL.get(room(module), 0)]
    assert not wrong, f"{module} imports {wrong} from a room above its own"


@pytest.mark.parametrize("module", QUANTIZERS)
def test_quantizers_know_no_models(module: str) -> None:
    found = list(imports(module, QUANTIZERS[module], KNOWN))
    assert not {name.split(".")[0] for name in found} & {"ptq", "benchmarks", "tests"}
    order = NUMBER_ROOMS.index
    wrong = [name for name in found if name.startswith("quantizers") and order(room(name)) > order(room(module))]
    assert not wrong, f"{module} imports {wrong} from a room above its own"


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
