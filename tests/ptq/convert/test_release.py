"""What a converted model keeps of the float model and of the calibration data, for how long, and how it is let go."""

from __future__ import annotations

import gc
import pickle
import re
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import absmax, calibrated, data
from paddle import nn

import ptq
from ptq import ImperativePTQ
from quantizers.errors import ModelError

KEPT = "a converted model keeps its float weights and the samples of its calibration as long as it lives"
X = (8, 16)


class Two(nn.Layer):
    """Two linear layers."""

    def __init__(self, width: int = 16, hidden: int = 32) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, 4)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.fc2(nn.functional.relu(self.fc1(x)))


class Kept:
    """A calibrated net, and weak references to its float weights, taken before it is converted."""

    def __init__(self) -> None:
        self.model = calibrated(Two(), data(*X), config=absmax())
        self.weights = [weakref.ref(layer.weight) for layer in (self.model.fc1, self.model.fc2)]
        self.arrays = [layer.weight.numpy() for layer in (self.model.fc1, self.model.fc2)]

    def convert(self, **options: Any) -> nn.Layer:
        """The converted model, the calibrated one forgotten."""
        model, self.model = self.model, None
        return ImperativePTQ().convert(model, **options)

    def alive(self) -> int:
        """How many float weights are still in memory."""
        gc.collect()
        return sum(weight() is not None for weight in self.weights)


def kept_bytes(model: nn.Layer) -> bytes:
    """The model's pickle: whatever the model refers to and a copy of it would carry."""
    return pickle.dumps(model)


def holds(content: bytes, array: np.ndarray) -> bool:
    return array.tobytes()[:64] in content


def saved(model: nn.Layer, prefix: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    """What saving prints and warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ImperativePTQ().save_quantized_model(model, str(prefix), **options)
    return "\n".join([capsys.readouterr().out, *(str(item.message) for item in caught)])


def test_the_float_weights_are_kept_until_the_model_is_saved() -> None:
    kept = Kept()
    model = kept.convert()
    assert kept.alive() == 2, "nothing to compare with in the check of a save"
    del model
    assert kept.alive() == 0, "somebody else keeps the weights: the other tests here could not fail"


@pytest.mark.xfail(strict=True, reason="the samples of the calibration, and so the user's data, are in the pickle of a converted model")
def test_a_pickle_holds_no_data_and_no_float_weight() -> None:
    kept = Kept()
    content = kept_bytes(kept.convert())
    assert not holds(content, data(*X).numpy())
    assert not any(holds(content, array) for array in kept.arrays)
    assert pickle.loads(content)(data(*X)).shape == [8, 4]


@pytest.mark.xfail(strict=True, reason="convert has no way to drop the float weights")
def test_convert_can_drop_them_at_once() -> None:
    kept = Kept()
    model = kept.convert(keep_float=False)
    assert kept.alive() == 0
    assert model(data(*X)).shape == [8, 4]


@pytest.mark.xfail(strict=True, reason=KEPT)
def test_release_drops_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Kept()
    model = kept.convert(keep_float=True)
    expected = model(data(*X)).numpy()
    ptq.release(model)
    assert kept.alive() == 0
    np.testing.assert_array_equal(model(data(*X)).numpy(), expected)
    ptq.release(model)  # again: nothing is left to drop
    saved(model, tmp_path / "m", capsys)
    np.testing.assert_array_equal(ptq.load(tmp_path / "m")(data(*X)).numpy(), expected)


@pytest.mark.xfail(strict=True, reason="there is no release")
def test_release_refuses_what_is_no_converted_model() -> None:
    for wrong in (Kept().model, nn.Linear(2, 2), 3):
        with pytest.raises(ModelError):
            ptq.release(wrong)


@pytest.mark.xfail(strict=True, reason=KEPT)
def test_saving_drops_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Kept()
    model = kept.convert()
    saved(model, tmp_path / "m", capsys, float_baseline=True)
    assert kept.alive() == 0
    assert not holds(kept_bytes(model), data(*X).numpy())


@pytest.mark.xfail(strict=True, reason="convert has no way to drop the float weights")
def test_saving_without_them_says_what_it_could_not_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Kept().convert(keep_float=False)
    told = saved(model, tmp_path / "m", capsys)
    assert re.search(r"not (checked|compared).*calibration|calibration.*not (checked|compared)", told), told
    with pytest.raises(ModelError, match="keep_float"):
        ImperativePTQ().save_quantized_model(model, str(tmp_path / "n"), float_baseline=True)


@pytest.mark.xfail(strict=True, reason=KEPT)
def test_a_released_model_is_smaller_than_the_float_model() -> None:
    net = Two(512, 512)
    float_bytes = sum(4 * layer.weight.size for layer in (net.fc1, net.fc2))
    model = ImperativePTQ().convert(calibrated(net, data(64, 512), config=absmax()))
    ptq.release(model)
    assert len(kept_bytes(model)) < 0.5 * float_bytes


def test_a_copy_answers_alike() -> None:
    model = Kept().convert()
    with paddle.no_grad():
        np.testing.assert_array_equal(pickle.loads(kept_bytes(model))(data(*X)).numpy(), model(data(*X)).numpy())
