"""What is measured in which runtime, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from ptq.tuning import Conditions
from ptq.tuning import conditions as module
from ptq.tuning.conditions import RUNTIMES, runtime_for
from ptq.util.extras import MissingExtraError
from quantizers.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batches": ()}, "batches"),
        ({"batches": (0,)}, "batches"),
        ({"batches": 8}, "batches"),
        ({"threads": 0}, "threads"),
        ({"rounds": True}, "rounds"),
        ({"precision": "f16"}, "precision"),
    ],
)
def test_values_out_of_range_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Conditions(**given)


def test_batches_count_once() -> None:
    assert Conditions(batches=(8, 1, 8)).batches == (8, 1)


def test_the_runtime_of_a_target() -> None:
    assert runtime_for("any", Conditions()) == ("onnxruntime", "f32")
    assert runtime_for("onnxruntime", Conditions(precision="f32")) == ("onnxruntime", "f32")
    assert runtime_for("openvino", Conditions(precision="bf16")) == ("openvino", "bf16")
    assert runtime_for("openvino", Conditions())[1] in ("f32", "bf16", "f16")


def test_what_cannot_be_measured_is_named() -> None:
    with pytest.raises(ConfigError, match="not in 'paddle_inference'"):
        runtime_for("paddle_inference", Conditions())
    with pytest.raises(ConfigError, match="f32 only"):
        runtime_for("onnxruntime", Conditions(precision="bf16"))


@pytest.mark.parametrize("name", list(RUNTIMES))
def test_a_runtime_that_is_not_installed_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> Any:
        raise MissingExtraError(f"{module} is not installed; run: pip install 'paddle-ptq[{extra}]'")

    monkeypatch.setattr(module, "import_extra", missing)
    with pytest.raises(MissingExtraError, match=f"{RUNTIMES[name].module} is not installed"):
        runtime_for(name, Conditions())
