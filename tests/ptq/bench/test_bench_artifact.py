"""Which inputs a saved model is measured with, and which models can be compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_models import IMAGES, write_artifact

from ptq.bench.artifact import Input, check_pair, feeds, fixed_batch, read_artifact, with_batch
from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError, MismatchError

IMAGE = Input((None, 3, None, None), "float32")


def test_files_and_inputs_are_those_of_the_manifest(tmp_path: Path) -> None:
    inputs = [{"shape": [-1, 3, 8], "dtype": "paddle.float32"}, {"shape": [None, 4], "dtype": "int64"}]
    prefix = write_artifact(tmp_path / "model", inputs, (".json", ".onnx"), size=123, quantized_layers=7)
    artifact = read_artifact(prefix)
    assert artifact.bytes == {".json": 123, ".onnx": 123}
    assert artifact.inputs == (Input((None, 3, 8), "float32"), Input((None, 4), "int64"))
    assert artifact.quantized_layers == 7


def test_missing_model() -> None:
    with pytest.raises(ArtifactError, match=r"nowhere/model\.ptq\.json is missing"):
        read_artifact("nowhere/model")


def test_changed_file(tmp_path: Path) -> None:
    prefix = write_artifact(tmp_path / "model")
    (tmp_path / "model.onnx").write_bytes(b"another")
    with pytest.raises(CorruptArtifactError, match=r"model\.onnx is not the file"):
        read_artifact(prefix)


@pytest.mark.parametrize("inputs", [[{"shape": [None]}], [{"dtype": "float32"}], [{"shape": 3, "dtype": "float32"}], ["x"]])
def test_manifest_without_shapes(tmp_path: Path, inputs: Any) -> None:
    with pytest.raises(CorruptArtifactError, match="does not tell the model's files and inputs"):
        read_artifact(write_artifact(tmp_path / "model", inputs))


def test_model_without_inputs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="InputSpec"):
        read_artifact(write_artifact(tmp_path / "model", []))


@pytest.mark.parametrize(
    ("int8", "baseline", "error", "words"),
    [
        ({"quantized_layers": 0}, {}, ConfigError, "has no quantized layer"),
        ({}, {"quantized_layers": 3}, ConfigError, "cannot be the float baseline"),
        ({}, {"inputs": [{"shape": [None, 3, 9, 9], "dtype": "float32"}]}, MismatchError, "are not the same model"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, int8: Any, baseline: Any, error: type[Exception], words: str) -> None:
    pair = [read_artifact(write_artifact(tmp_path / name, **options)) for name, options in (("a", int8), ("b", baseline))]
    with pytest.raises(error, match=words):
        check_pair(*pair)


def test_batch_takes_the_free_first_size() -> None:
    token = Input((None, None), "int64")
    assert with_batch([IMAGE, token], 8, [(3, 32, 40), (128,)]) == [Input((8, 3, 32, 40), "float32"), Input((8, 128), "int64")]
    assert with_batch([Input((None, 5), "float32"), Input((1, 4), "float32")], 2, []) == [
        Input((2, 5), "float32"),
        Input((1, 4), "float32"),
    ]


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([], "free sizes [None, 3, None, None]: give those behind the batch with --input-shape"),
        ([(3, 32)], "[3, 32] does not fit input 0, whose sizes behind the batch are [3, None, None]"),
        ([(1, 32, 32)], "does not fit input 0"),
        ([(3, 32, 0)], "does not fit input 0"),
        ([(3, 32, 32), (5,)], "given 2 times, but the model has 1 inputs"),
    ],
)
def test_sizes_that_do_not_fit(sizes: Sequence[Sequence[int]], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        with_batch([IMAGE], 1, sizes)


@pytest.mark.parametrize(
    ("shapes", "batch"), [([(4, 3)], 4), ([(None, 3)], None), ([(1, 3), (None, 2)], None), ([(), (None, 2)], None), ([()], 1)]
)
def test_fixed_batch(shapes: Sequence[tuple[int | None, ...]], batch: int | None) -> None:
    assert fixed_batch([Input(shape, "float32") for shape in shapes]) == batch


def test_feeds_are_repeatable_and_of_the_right_kind() -> None:
    inputs = [Input((2, 3), "float16"), Input((2,), "int64"), Input((2,), "bool")]
    first, second = feeds(inputs), feeds(inputs)
    assert [(array.shape, array.dtype.name) for array in first] == [((2, 3), "float16"), ((2,), "int64"), ((2,), "bool")]
    assert all(map(np.array_equal, first, second))
    assert first[0].std() > 0
    assert not first[1].any()


def test_dtype_that_numpy_does_not_have() -> None:
    with pytest.raises(ConfigError, match="inputs of dtype bfloat16 cannot be made"):
        feeds([Input((2,), "bfloat16")])


def test_images_are_what_the_other_tests_take_them_for(tmp_path: Path) -> None:
    assert read_artifact(write_artifact(tmp_path / "model", IMAGES)).inputs == (Input((None, 3, 8, 8), "float32"),)
