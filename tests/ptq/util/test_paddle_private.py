"""The contract with the Paddle that is installed: what of its own names this project uses, and that no other file uses any."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, data
from paddle import nn
from paddle.static import InputSpec

from ptq.util import paddle_private
from ptq.util.paddle_private import ATTRIBUTES, IrGuard, OldIrGuard, legacy_type, needed_outputs, paddle_dtype, write_program

ROOT = Path(__file__).resolve().parents[3]
HOME = ROOT / "ptq" / "util" / "paddle_private.py"
# Packages of Paddle whose content it does not document.
PRIVATE = ("paddle._C_ops", "paddle.base", "paddle.pir", "paddle.pir_utils", "paddle.jit.dy2static", "paddle.nn.layer", "paddle.nn.utils")
PRIVATE = (*PRIVATE, "paddle.nn.quant.quant_layers")


def _value() -> Any:
    kept: list[Any] = []

    def keep(_: Any, x: Any) -> Any:
        kept.append(x)
        return x + 1.0

    net = Net(keep)  # the static function holds it weakly
    function = paddle.jit.to_static(net.forward, input_spec=[InputSpec([2], "float32")], full_graph=True)
    assert function.concrete_program is not None
    return kept[0]


HOLDERS: dict[str, Callable[[], Any]] = {
    "Layer": nn.Layer,
    "Tensor": lambda: data(2),
    "Value": _value,
    "Conv2D": lambda: nn.Conv2D(2, 2, 1),
    "BatchNorm": lambda: nn.BatchNorm(2),
    "BatchNorm2D": lambda: nn.BatchNorm2D(2),
    "LSTM": lambda: nn.LSTM(2, 2),
    "Embedding": lambda: nn.Embedding(2, 2),
    "MAOutputScaleLayer": lambda: paddle_private.MAOutputScaleLayer(nn.Identity()),
    "QuantConfig": lambda: paddle.quantization.QuantConfig(None, None),
    "QuanterFactory": paddle.quantization.quanters.FakeQuanterWithAbsMaxObserver,
    "Optimizer": lambda: paddle.optimizer.SGD(parameters=[paddle.create_parameter([1], "float32")]),
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_paddles_objects_have_the_attributes(kind: str) -> None:
    found = HOLDERS[kind]()
    missing = [name for name in ATTRIBUTES[kind] if not hasattr(found, name)]
    assert not missing, f"Paddle {paddle.__version__}: {kind} has no {', '.join(missing)}"


def test_the_gradient_of_clipping() -> None:
    x, gradient = paddle.to_tensor([-2.0, -0.5, 0.5, 2.0]), paddle.to_tensor([1.0, 2.0, 3.0, 4.0])
    assert paddle_private.clipped_gradient(x, gradient, -1.0, 1.0).tolist() == [0.0, 2.0, 3.0, 0.0]


def test_removing_a_hook_by_its_tables_is_as_good_as_by_its_handle() -> None:
    layer, calls = nn.Identity(), []
    layer.register_forward_pre_hook(lambda *_: calls.append("pre"), with_kwargs=True)
    layer.register_forward_post_hook(lambda *_: calls.append("post"), with_kwargs=True)
    layer(data(1))
    for table in ("_forward_pre_hooks", "_forward_post_hooks"):
        getattr(layer, table).clear()
    layer(data(1))
    assert calls == ["pre", "post"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int32", "int64", "bool"])
def test_dtypes_by_name_and_by_numpys(dtype: str) -> None:
    assert paddle_dtype(dtype) == paddle_dtype(np.dtype(dtype)) == getattr(paddle, dtype)


def test_legacy_programs_store_the_numbers_of_dtypes() -> None:
    with OldIrGuard():  # the protocol's own numbers
        assert [legacy_type(dtype) for dtype in ("bool", "int32", "int64", "float16", "float32", "float64")] == [0, 2, 3, 4, 5, 6]
        assert legacy_type("bfloat16") == 22


def test_legacy_operators_tell_what_they_cannot_do_without() -> None:
    assert list(needed_outputs("relu")) == ["Out"]
    assert set(needed_outputs("batch_norm")) >= {"Y", "MeanOut", "VarianceOut", "SavedMean", "SavedVariance"}


def test_a_written_program_is_read_again(tmp_path: Path) -> None:
    with IrGuard():
        write_program(paddle.static.Program(), str(tmp_path / "m.json"), readable=True)
    assert "program" in (tmp_path / "m.json").read_text(encoding="utf-8")


def _private_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            continue
        yield from (name for name in names if any(f"{name}.".startswith(f"{package}.") for package in PRIVATE))


def test_no_other_file_names_what_paddle_keeps_to_itself() -> None:
    found = {str(path.relative_to(ROOT)): list(_private_names(path)) for path in (ROOT / "ptq").rglob("*.py") if path != HOME}
    assert not {path: names for path, names in found.items() if names}
    assert list(_private_names(HOME)), "the search finds nothing at all"


def _foreign_attributes(files: list[Path]) -> dict[str, list[str]]:
    """Attributes with one leading underscore that no file of the project defines, and where they are used."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    own: set[str] = set()
    for node in (node for tree in trees.values() for node in ast.walk(tree)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own.add(node.target.id)
    found: dict[str, list[str]] = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__") and node.attr not in own:
                found.setdefault(node.attr, []).append(path.name)
    return found


def test_every_private_attribute_is_in_the_contract() -> None:
    others = {
        "_asdict",
        "_exit",
        "_getframe",
        "_make",
        "_operator_weights",
    }  # Python's, and one of a state of this project
    listed = {name for names in ATTRIBUTES.values() for name in names} | others
    found = _foreign_attributes(list((ROOT / "ptq").rglob("*.py")))
    assert not {name: files for name, files in found.items() if name not in listed}
    assert "_sub_layers" in found
