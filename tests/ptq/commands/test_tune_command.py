"""``ptq tune``: the settings of a saved artifact, layers left float by times of the test's own."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import data
from saved_nets import run_command, save_net, without_checks
from tuning_cases import ThreeConvs, fake_times

import ptq
from ptq import PTQConfig
from ptq.commands import tune
from ptq.export.manifest import read_manifest
from ptq.util.extras import MissingExtraError
from quantizers import MinMaxQuantizer

SHAPE = (None, 3, 12, 12)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``net``, a saved program, ``int8/net``, made of it with ranges from smallest to largest, and ``net.npy``."""
    without_checks(monkeypatch)
    paddle.seed(0)
    save_net(tmp_path / "net", SHAPE, ThreeConvs())
    np.save(tmp_path / "net.npy", np.concatenate([data(4, 3, 12, 12, seed=seed).numpy() for seed in range(2)]))
    config = PTQConfig(MinMaxQuantizer(), placement="full")
    result = ptq.quantize_model(str(tmp_path / "net"), [data(4, 3, 12, 12)], config, recipe=None, progress=False)
    result.save(tmp_path / "int8" / "net", verbose=False)
    return tmp_path


def tuned(made: Path, *more: Any) -> int:
    return run_command(
        "tune", made / "int8/net", "--float", made / "net", "--data", made / "net.npy", "--recipe", "none", "--batch", 2, *more
    )


def test_the_manifest_holds_the_config(made: Path) -> None:
    assert PTQConfig.from_dict(read_manifest(made / "int8/net")["config"]) == PTQConfig(MinMaxQuantizer(), placement="full")


@pytest.mark.parametrize(("runtime", "suffix"), [("onnxruntime", ".onnx"), ("openvino", ".openvino.xml")])
def test_the_fastest_is_saved_beside(
    made: Path, runtime: str, suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name for name, _ in ptq.load_program(str(made / "net")).named_sublayers() if "Conv" in name]
    fake_times(monkeypatch, defaultdict(lambda: (1e-3, 3e-3), {names[1]: (5e-3, 1e-3)}))
    assert tuned(made, "--runtime", runtime, "--report", made / "report.json") == 0
    assert (made / "int8" / f"fastest_net{suffix}").is_file()
    printed = capsys.readouterr().out
    assert f"placement fastest for {runtime}" in printed
    assert "choice1, 1 of 3 layers float: batch 2: " in printed
    manifest = read_manifest(made / "int8/fastest_net")
    assert manifest["quantized_layers"] == 2
    assert manifest["config"]["target"] == runtime
    assert manifest["config"]["activation_quantizer"]["type"] == "MinMaxQuantizer"
    report = json.loads((made / "report.json").read_text(encoding="utf-8"))
    assert report["tuning"]["chosen"] == "choice1"
    assert (report["placement"], report["target"]) == ("fastest", runtime)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--precision", "bf16"), "float layers in f32 only"),
        (("--threads", "0"), "threads must be"),
        (("--out", "a/.."), "no prefix"),
    ],
)
def test_errors_are_one_line(made: Path, more: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tuned(made, "--runtime", "onnxruntime", *more) == 2
    assert said in capsys.readouterr().err


def test_what_is_missing_is_named(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rest = ("--float", made / "net", "--data", made / "none.npy", "--runtime", "onnxruntime")
    assert run_command("tune", made / "int8/other", *rest) == 2
    assert "other.ptq.json is missing" in capsys.readouterr().err
    assert run_command("tune", made / "int8/net", *rest) == 2
    assert "none.npy" in capsys.readouterr().err

    def missing(*_: Any) -> Any:
        raise MissingExtraError("onnxruntime is not installed")

    monkeypatch.setattr(tune, "runtime_for", missing)
    assert tuned(made, "--runtime", "onnxruntime") == 2
    assert "onnxruntime is not installed" in capsys.readouterr().err


def test_a_runtime_that_is_not_known(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tuned(made, "--runtime", "tensorrt")
    assert "invalid choice: 'tensorrt'" in capsys.readouterr().err
