"""What cannot be opened is refused by name, before anything is computed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import paddle
import pytest
from paddle import nn
from program_nets import Mixed, picture, save

import ptq
from quantizers.errors import AlreadyQuantizedError, ProgramError, QuantizationError, UnsupportedOperatorError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, legacy_program: Path) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    paddle.seed(0)
    save(Mixed(), folder / "model", [None, 3, None, None])
    save(nn.Linear(4, 5), folder / "small", [None, 4])
    for suffix in (".pdmodel", ".pdiparams"):
        shutil.copy(f"{legacy_program}{suffix}", folder / f"legacy{suffix}")
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


HALF: Callable[[bytes], bytes] = lambda data: data[: len(data) // 2]  # noqa: E731
FILES = {
    "cut program": ("model.json", HALF, "is cut"),
    "empty program": ("model.json", lambda _: b"", "is empty"),
    "a list": ("model.json", lambda _: b"[1, 2]", "cannot be read as a Paddle program"),
    "other JSON": ("model.json", lambda _: b'{"a": 1}', "no base_code"),
    "other magic": ("model.json", lambda data: data.replace(b'"magic":"pir"', b'"magic":"bir"'), "says 'bir'"),
    "no text": ("model.json", lambda _: b"{" + bytes(range(128, 256)), "encrypted"),
    "encrypted": ("model.json", lambda data: bytes(byte ^ 0x5A for byte in data), "encrypted"),
    "no blocks": ("model.json", lambda data: json.dumps({**json.loads(data), "program": {"regions": []}}).encode(), "Paddle cannot read"),
    "cut legacy program": ("legacy.pdmodel", HALF, "it is cut, encrypted"),
    "empty legacy program": ("legacy.pdmodel", lambda _: b"", "is empty"),
    "encrypted legacy program": ("legacy.pdmodel", lambda data: bytes(byte ^ 0x5A for byte in data), "encrypted"),
    "cut parameters": ("model.pdiparams", HALF, "is cut|wants|belongs to another"),
    "one byte short": ("model.pdiparams", lambda data: data[:-1], "wants 20 bytes, 19 are left|are left"),
    "one byte more": ("model.pdiparams", lambda data: data + b"\0", "holds more than"),
    "no parameters": ("model.pdiparams", lambda _: b"", "holds 0 tensors"),
    "text as parameters": ("model.pdiparams", lambda _: b"hello, this is no file of parameters at all", "no file of parameters"),
    "a pickle as parameters": ("model.pdiparams", lambda _: b"\x80\x04\x95" + bytes(60), "no file of parameters|encrypted"),
    "encrypted parameters": ("model.pdiparams", lambda data: bytes(byte ^ 0x5A for byte in data), "encrypted"),
    "damaged description": ("model.pdiparams", lambda data: data[:20] + b"\xff" * 8 + data[28:], "damaged|data type|is cut"),
}


@pytest.mark.parametrize("case", FILES)
def test_damaged_files(case: str, folder: Path) -> None:
    name, change, message = FILES[case]
    _change(folder / name, change)
    with pytest.raises(ProgramError, match=message):
        ptq.load_program(folder / name.split(".")[0])


def test_missing_files(folder: Path) -> None:
    with pytest.raises(ProgramError, match=r"no saved program .*nothing\.json or .*nothing\.pdmodel.*holds"):
        ptq.load_program(folder / "nothing")
    with pytest.raises(ProgramError, match="there is no folder"):
        ptq.load_program(folder / "no" / "folder")
    with pytest.raises(ProgramError, match="holds several programs"):
        ptq.load_program(_without_usual_names(folder))
    with pytest.raises(ProgramError, match="is the file of parameters"):
        ptq.load_program(folder / "model.pdiparams")
    with pytest.raises(ProgramError, match="has no program called other"):
        ptq.load_program(folder, model_filename="other")
    with pytest.raises(ProgramError, match="has no file of parameters called other"):
        ptq.load_program(folder / "small", params_filename="other")
    with pytest.raises(ProgramError, match="there is no file of parameters"):
        ptq.load_program(folder / "small", params_path=folder / "other")
    os.remove(folder / "small.pdiparams")
    with pytest.raises(ProgramError, match=r"has 2 parameters, and there is no file .*small\.pdiparams"):
        ptq.load_program(folder / "small")
    (folder / "empty").mkdir()
    with pytest.raises(ProgramError, match=r"holds no saved program.*it holds nothing"):
        ptq.load_program(folder / "empty")


def _without_usual_names(folder: Path) -> Path:
    other = folder / "several"
    other.mkdir()
    for name in ("a", "b"):
        for suffix in (".json", ".pdiparams"):
            shutil.copy(folder / f"small{suffix}", other / f"{name}{suffix}")
    return other


def test_parameters_of_another_program(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="belongs to another program"):
        ptq.load_program(folder / "model", params_path=folder / "small.pdiparams")
    with pytest.raises(ProgramError, match="belongs to another program"):
        ptq.load_program(folder / "small", params_path=folder / "model.pdiparams")
    save(nn.Linear(5, 4), tmp_path / "turned", [None, 5])
    with pytest.raises(ProgramError, match=r"is float32 \[5\] in .* and float32 \[4\] in the file"):
        ptq.load_program(folder / "small", params_path=tmp_path / "turned.pdiparams")
    parts = tmp_path / "parts"
    parts.mkdir()
    with pytest.raises(ProgramError, match=r"there is no file .* for the parameter"):
        ptq.load_program(folder / "small", params_path=parts)


def test_unknown_operators_are_all_named(tmp_path: Path) -> None:
    class Odd(nn.Layer):
        def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
            return paddle.linalg.svd(x)[0], paddle.linalg.svd(x + 1)[0], paddle.inverse(x), nn.functional.relu(x)

    save(Odd(), tmp_path / "m", [3, 3])
    with pytest.raises(UnsupportedOperatorError) as caught:
        ptq.load_program(tmp_path / "m")
    assert "svd (2 times, first at operation" in str(caught.value)
    assert "inverse (1 times" in str(caught.value)


def test_unknown_legacy_operator(folder: Path) -> None:
    _change(folder / "legacy.pdmodel", lambda data: data.replace(b"hard_swish", b"hard_swoon"))
    with pytest.raises(UnsupportedOperatorError, match=r"hard_swoon .1 times, first at operation"):
        ptq.load_program(folder / "legacy")


class Branching(nn.Layer):
    """Depends on data."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if x.sum() > 0:
            x = x + 1
        return x


class Looping(nn.Layer):
    """Depends on data."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        while x.sum() < 10:
            x = x + 1
        return x


@pytest.mark.parametrize(("net", "name"), [(Branching, "if"), (Looping, "while")])
def test_control_flow_is_named(net: type[nn.Layer], name: str, tmp_path: Path) -> None:
    save(net(), tmp_path / "m", [2, 3])
    with pytest.raises(UnsupportedOperatorError, match=rf"{name} \(1 times.*control flow"):
        ptq.load_program(tmp_path / "m")


def test_quantized_programs(folder: Path) -> None:
    # PaddleSlim's operators, as they are called in its programs; of the same length as what they replace
    _change(folder / "legacy.pdmodel", lambda data: data.replace(b"batch_norm", b"fake_quant"))
    with pytest.raises((AlreadyQuantizedError, ProgramError), match="quantized already"):
        ptq.load_program(folder / "legacy")


def test_own_artifacts_by_their_manifest(folder: Path) -> None:
    (folder / "model.ptq.json").write_text("{}", encoding="utf-8")
    for path in (folder / "model", folder / "model.json"):
        with pytest.raises(ProgramError, match=r"saved by this project.*ptq\.load"):
            ptq.load_program(path)
    ptq.load_program(folder / "small")


@pytest.mark.slow
def test_own_artifacts(folder: Path) -> None:
    engine = ptq.ImperativePTQ(ptq.PTQConfig())
    model = engine.quantize(nn.Sequential(nn.Linear(4, 5)))
    model(paddle.to_tensor(picture(8, 4)))
    model = engine.convert(model)
    engine.save_quantized_model(model, str(folder / "own" / "model"), input_spec=[paddle.static.InputSpec([None, 4])])
    for path in (folder / "own" / "model", folder / "own" / "model.json", folder / "own"):
        with pytest.raises(ProgramError, match=r"saved by this project.*ptq\.load"):
            ptq.load_program(path)


def test_too_many_inputs(tmp_path: Path) -> None:
    paddle.enable_static()
    try:
        main = paddle.static.Program()
        with paddle.static.program_guard(main):
            inputs = [paddle.static.data(f"x{number}", [2]) for number in range(13)]
            total = sum(inputs[1:], inputs[0])
            paddle.static.save_inference_model(str(tmp_path / "m"), inputs, [total], paddle.static.Executor(), program=main)
    finally:
        paddle.disable_static()
    with pytest.raises(ProgramError, match="takes 13 inputs, and at most 12"):
        ptq.load_program(tmp_path / "m")


def test_training(tmp_path: Path) -> None:
    class Training(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.dropout = nn.Linear(4, 4), nn.Dropout(0.5)

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return self.dropout(self.linear(x))

    save(Training(), tmp_path / "m", [None, 4])
    layer = ptq.load_program(tmp_path / "m")
    with pytest.raises(ProgramError, match=r"cannot be trained.*dropout was taken out at operation .*Dropout"):
        layer.train()
    assert not layer.training
    layer.eval()


def test_errors_are_of_the_projects_tree() -> None:
    assert issubclass(UnsupportedOperatorError, ProgramError)
    assert issubclass(ProgramError, QuantizationError)
