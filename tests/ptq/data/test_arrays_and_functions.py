"""Calibration data from ``.npy``, ``.npz`` and ``module:function``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptq.data import DataOptions, Takes, open_data
from quantizers.errors import (
    CalibrationError,
    ConfigError,
    NoCalibrationDataError,
    QuantizationWarning,
    ShapeError,
    UnsupportedDtypeError,
)

ROWS = np.random.default_rng(0).standard_normal((10, 6)).astype("float32")
ONE = [Takes("numbers", (None, 6), "float32")]
TWO = [*ONE, Takes("code", (None,), "int64")]


def batches(text: Any, inputs: list[Takes], **options: Any) -> list[Any]:
    return list(open_data(str(text), inputs, DataOptions(**options)))


def test_rows_of_npy_are_the_one_input(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS.astype("float64"))
    found = batches(tmp_path / "a.npy", ONE, batch_size=4)
    assert [len(batch["numbers"]) for batch in found] == [4, 4, 2]
    assert found[0]["numbers"].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([batch["numbers"] for batch in found]), ROWS)


def test_npz_goes_by_name_and_leaves_labels_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", code=np.arange(10, dtype="int32"), numbers=ROWS, labels=np.zeros(3))
    found = batches(tmp_path / "a.npz", TWO, batch_size=8, samples=9)
    assert [sorted(batch) for batch in found] == [["code", "numbers"]] * 2
    np.testing.assert_array_equal(np.concatenate([batch["code"] for batch in found]), np.arange(9))
    assert found[0]["code"].dtype == np.int64


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    assert [len(batch["numbers"]) for batch in batches(tmp_path / "a.npy", [Takes("numbers", (3, 6), "float32")])] == [3, 3, 3]
    with pytest.raises(ConfigError, match="--batch-size is 4, but the model takes batches of 3"):
        batches(tmp_path / "a.npy", [Takes("numbers", (3, 6), "float32")], batch_size=4)
    with pytest.raises(NoCalibrationDataError, match="holds 10 samples, which make no batch of 11"):
        batches(tmp_path / "a.npy", [Takes("numbers", (11, 6), "float32")])


def test_fewer_than_asked_is_warned_of(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    with pytest.warns(QuantizationWarning, match=r"a\.npy gives 10 samples, fewer than the 64"):
        batches(tmp_path / "a.npy", ONE, samples=64)


@pytest.mark.parametrize(
    ("arrays", "inputs", "error", "says"),
    [
        ({"numbers": ROWS[:, :5]}, ONE, ShapeError, "has the shape [10, 5], but the model's input 'numbers' is float32 [?, 6]"),
        ({"numbers": ROWS[0]}, ONE, ShapeError, "has the shape [6]"),
        ({"numbers": np.zeros((3, 6), "uint8")}, ONE, UnsupportedDtypeError, "holds uint8"),
        ({"numbers": ROWS, "code": np.zeros(9, "int64")}, TWO, ShapeError, "different numbers of samples: numbers 10, code 9"),
        ({"numbers": ROWS, "code": np.zeros(10)}, TWO, UnsupportedDtypeError, "code holds float64"),
        ({"numbers": ROWS}, TWO, CalibrationError, "code missing"),
        ({"a": ROWS, "b": ROWS}, ONE, CalibrationError, "holds a, b, but the model takes numbers"),
        ({"numbers": ROWS[:0]}, ONE, NoCalibrationDataError, "holds 0 samples"),
        ({"numbers": np.array([None] * 3)}, ONE, CalibrationError, "Python objects, which are never loaded"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: Any, inputs: list[Takes], error: type[Exception], says: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(error, match=re.escape(says)) as raised:
        batches(tmp_path / "a.npz", inputs)
    assert type(raised.value) is error
    assert "a.npz" in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CalibrationError, match=rf"{name} cannot be read as arrays"):
        batches(tmp_path / name, ONE)


@pytest.mark.parametrize("text", ["nowhere", "nowhere/a.npy", "no such:function"])
def test_data_that_is_nowhere(text: str) -> None:
    with pytest.raises(CalibrationError, match=f"there is no data {text}"):
        batches(text, ONE)


def test_other_files_and_picture_options_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2", encoding="utf-8")
    with pytest.raises(CalibrationError, match=r"a\.csv is no data that can be read"):
        batches(tmp_path / "a.csv", ONE)
    np.save(tmp_path / "a.npy", ROWS)
    with pytest.raises(ConfigError, match="--mean belong to a folder of pictures"):
        batches(tmp_path / "a.npy", ONE, given=("--mean",))


MODULE = """
import numpy as np

broken = 3

def many():
    for number in range(5):
        yield {"numbers": np.full((4, 6), number, "float32")}, number

def listed():
    return [np.zeros((2, 6))]

def nothing():
    return None

def fails():
    yield np.zeros((2, 6))
    raise RuntimeError("the disk\\nis gone")

class Group:
    @staticmethod
    def inner():
        return listed()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"user_data_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_batches_of_a_function_come_as_they_are(module: str) -> None:
    assert [label for _, label in batches(f"{module}:many", ONE)] == [0, 1, 2, 3, 4]
    assert len(batches(f"{module}:Group.inner", ONE)) == 1


def test_a_function_is_stopped_after_the_samples(module: str) -> None:
    assert [label for _, label in batches(f"{module}:many", ONE, samples=7)] == [0, 1]
    with pytest.warns(QuantizationWarning, match="yields 20 samples, fewer than the 50"):
        batches(f"{module}:many", ONE, samples=50)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("absent", "has no absent"),
        ("broken", "is a int, not a function"),
        ("nothing", "returns a NoneType"),
        ("fails", "raises RuntimeError: is gone"),
    ],
)
def test_functions_that_fail(module: str, name: str, says: str) -> None:
    with pytest.raises(CalibrationError, match=f"{module}:?.*{says}"):
        batches(f"{module}:{name}", ONE)


def test_a_module_that_is_nowhere() -> None:
    with pytest.raises(CalibrationError, match="no_such_module_here:f raises ModuleNotFoundError"):
        batches("no_such_module_here:f", ONE)
