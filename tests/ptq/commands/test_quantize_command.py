"""``ptq quantize``: what it writes answers as what the Python call makes; options reach their place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import data
from saved_nets import TwoInputs, pictures, run_command, save_net, without_checks

import ptq
from ptq import PTQConfig
from ptq.commands.data_arguments import _number, _size
from quantizers import AbsmaxQuantizer

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``net`` and ``two``, saved programs; ``pictures``; ``data.npz`` for both."""
    folder = tmp_path_factory.mktemp("made")
    paddle.seed(0)
    save_net(folder / "net")
    save_net(folder / "two", net=TwoInputs())
    pictures(folder / "pictures", 12)
    random = np.random.default_rng(0)
    np.savez(
        folder / "two.npz", numbers=random.standard_normal((16, 6)).astype("float32"), code=random.integers(0, 5, 16), label=np.zeros(2)
    )
    np.save(folder / "net.npy", random.standard_normal((8, 3, 12, 12)).astype("float32"))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; saving there is not checked, which takes long."""
    monkeypatch.chdir(tmp_path)
    without_checks(monkeypatch)
    return tmp_path


def test_in_a_process_of_its_own(made: Path, tmp_path: Path) -> None:
    arguments = ["quantize", str(made / "net"), "--data", str(made / "pictures"), "--size", "16x16", "--out", "int8/net"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-m", "ptq", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert "calibrated with 12 samples in 2 batches" in process.stdout
    assert "Paddle, portable: differs by 0.0e+00" in process.stdout
    assert {path.name for path in (tmp_path / "int8").iterdir()} == {"net.json", "net.pdiparams", "net.ptq.json", "net.ptq.coverage.json"}


@pytest.mark.usefixtures("here")
def test_pictures_are_prepared_as_the_options_say(made: Path) -> None:
    options = ["--size", "16x20", "--mean", "0.4,0.5,0.6", "--std", "0.25", "--bgr", "--batch-size", "5", "--samples", "10"]
    assert run_command("quantize", made / "net", "--data", made / "pictures", *options, "--out", "int8") == 0
    from PIL import Image

    chosen = [made / "pictures" / f"{number * 12 // 10:03}.png" for number in range(10)]
    images = [Image.open(file) for file in chosen]
    box = [image.transform((20, 16), Image.Transform.EXTENT, (0, 0, 24, 20), Image.Resampling.BILINEAR) for image in images]
    inputs = np.stack([np.asarray(image) for image in box])[..., ::-1] / 255
    inputs = ((inputs - [0.4, 0.5, 0.6]) / 0.25).transpose(0, 3, 1, 2).astype("float32")
    expected = ptq.quantize_model(made / "net", [inputs[:5], inputs[5:]], fuse=True)
    x = data(3, 3, 24, 24)
    with paddle.no_grad():
        np.testing.assert_allclose(ptq.load("int8")(x).numpy(), expected.model(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("here")
def test_several_inputs_by_name(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("quantize", made / "two", "--data", made / "two.npz", "--out", "int8", "--report", "report.json") == 0
    assert "calibrated with 16 samples in 2 batches" in capsys.readouterr().out
    stored = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert stored["source"] == str(made / "two")
    assert stored["calibrated"] == {"samples": 16, "batches": 2}


@pytest.mark.usefixtures("here")
def test_config_placement_and_float_layers(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PTQConfig(AbsmaxQuantizer(), overrides={"Conv2D*": None}).to_json("config.json")
    arguments = ["quantize", made / "net", "--data", made / "net.npy", "--config", "config.json", "--out"]
    assert run_command(*arguments, "a", "--placement", "full") == 0
    assert run_command(*arguments, "b", "--float-layers", "Linear*") == 0
    assert "placement full" in capsys.readouterr().out
    states = {name: [row.state for row in ptq.Ledger.from_json(f"{name}.ptq.coverage.json").rows if row.macs] for name in "ab"}
    assert states == {"a": ["float", "int8", "int8"], "b": ["float", "int8", "float"]}


@pytest.mark.usefixtures("here")
def test_a_recipe_and_widths(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("many.npy", np.random.default_rng(0).standard_normal((40, 3, 12, 12)).astype("float32"))
    arguments = ["quantize", made / "net", "--data", "many.npy", "--out", "int8", "--weight-bits", "4", "--report", "report.json"]
    assert run_command(*arguments, "--recipe", "fast", "--seed", "2", "--resume", "state.npz") == 0
    assert "recipe fast" in capsys.readouterr().out
    recovery = json.loads(Path("report.json").read_text(encoding="utf-8"))["recovery"]
    assert (recovery["recipe"], recovery["held"]) == ("fast", 16)
    assert Path("state.npz").is_file()
    assert run_command(*arguments, "--recipe", "none") == 0
    assert json.loads(Path("report.json").read_text(encoding="utf-8"))["recovery"] is None
    assert run_command(*arguments, "--recipe", "fastest") == 2
    assert "recipe must be one of" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_input_fixes_sizes(made: Path) -> None:
    arguments = ["quantize", made / "net", "--data", made / "pictures", "--input", "pic=-1,3,16,18", "--out", "int8"]
    assert run_command(*arguments) == 0
    assert json.loads(Path("int8.ptq.json").read_text(encoding="utf-8"))["inputs"] == [
        {"shape": [-1, 3, 16, 18], "dtype": "paddle.float32"}
    ]


@pytest.mark.usefixtures("here")
def test_batches_of_a_function(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("batches_for_quantize.py").write_text(
        "import numpy as np\ndef batches():\n    for _ in range(9):\n        yield np.random.randn(2, 3, 12, 12), 'label'\n",
        encoding="utf-8",
    )
    sys.modules.pop("batches_for_quantize", None)
    assert run_command("quantize", made / "net", "--data", "batches_for_quantize:batches", "--samples", "7", "--out", "int8") == 0
    assert "calibrated with 8 samples in 4 batches" in capsys.readouterr().out


def test_the_recipe_beside_the_model(made: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed (extra pictures)")
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("paddle2onnx")
    Path("model").mkdir()
    for suffix in (".json", ".pdiparams"):
        (here / "model" / f"inference{suffix}").write_bytes((made / f"net{suffix}").read_bytes())
    Path("model/inference.yml").write_text(
        "PreProcess:\n  transform_ops:\n  - RecResizeImg: {image_shape: [3, 12, 30]}\nPostProcess:\n  character_dict: [a, b]\n",
        encoding="utf-8",
    )
    arguments = ["quantize", "model", "--data", made / "pictures", "--formats", "jit,onnx", "--placement", "full", "--out", "int8"]
    assert run_command(*arguments) == 0
    printed = capsys.readouterr().out
    assert "pictures are prepared as model/inference.yml says" in printed
    assert "float32[8, 3, 12, 30]" in printed
    assert [(item.key, item.value) for item in onnx.load("int8.onnx").metadata_props] == [("character", "a\nb")]


def test_a_skipped_picture_is_one_line(made: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pictures(here / "pictures", 12)
    (folder / "broken.png").write_bytes(b"nothing")
    assert run_command("quantize", made / "net", "--data", folder, "--out", "int8") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ptq: warning: {folder}: 1 of 13 pictures cannot be read and were skipped: broken.png")


@pytest.mark.parametrize(
    "options",
    [
        ["--formats", "jit,jit"],
        ["--formats", "tflite"],
        ["--size", "80"],
        ["--size", "0x80"],
        ["--mean", "a,b"],
        ["--scale", "1/0"],
        ["--scale", "nan"],
        ["--samples", "0"],
        ["--input", "pic"],
        ["--input", "pic=0,3"],
        ["--metadata", "character"],
        ["--placement", "some"],
    ],
)
def test_arguments_that_cannot_be(made: Path, here: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_command("quantize", made / "net", "--data", made / "net.npy", "--out", "int8", *options)
    assert stopped.value.code == 2
    assert options[0] in capsys.readouterr().err
    assert not list(here.iterdir())


def test_numbers_as_people_write_them() -> None:
    assert _number("1/255") == 1 / 255
    assert _size("80X160") == (80, 160)


def test_help_tells_what_a_newcomer_needs(capsys: pytest.CaptureFixture[Any]) -> None:
    for command in ("quantize", "check", "coverage", "compare"):
        with pytest.raises(SystemExit) as stopped:
            run_command(command, "--help")
        assert stopped.value.code == 0
        printed = capsys.readouterr().out
        assert "usage: ptq" in printed
        assert "int8/model" in printed or "inference" in printed or "model" in printed
