"""``ptq quantize``, ``check``, ``coverage`` and ``compare`` with models, data and places that cannot be: one line each, nothing written."""

from __future__ import annotations

import errno
import pickle
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from hostile_case import Act, Case, Scene
from hostile_commands import run
from hostile_files import Harmful
from paddle import nn
from paddle.static import InputSpec

from quantizers.errors import QuantizationError

__all__ = ["CASES"]

Prepare = Callable[[Scene], object]


class Scores(nn.Layer):
    """Scores of pictures ``[n, 3, h, w]``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2D(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.fc(nn.functional.relu(self.conv(x)).mean([2, 3]))


def program(scene: Scene, name: str = "net", net: nn.Layer | None = None) -> None:
    net = Scores() if net is None else net
    net.eval()
    spec = InputSpec([None, 4] if isinstance(net, nn.Linear) else [None, 3, None, None], "float32", "x")
    state = paddle.get_rng_state()
    paddle.jit.save(net, str(scene.folder / name), input_spec=[spec])
    paddle.set_rng_state(state)


def rows(scene: Scene, *shape: int, name: str = "data.npy", value: float | None = None) -> None:
    found = np.random.default_rng(0).standard_normal(shape or (8, 3, 8, 8)).astype("float32")
    if value is not None:
        found.flat[0] = value
    np.save(scene.folder / name, found)


def photos(scene: Scene, *contents: bytes) -> None:
    from PIL import Image

    (scene.folder / "photos").mkdir()
    for number in range(8):
        Image.new("RGB", (9, 8), (number * 20, 7, 90)).save(scene.folder / "photos" / f"{number}.png")
    for number, content in enumerate(contents):
        (scene.folder / "photos" / f"z{number}.jpg").write_bytes(content)


def quantizing(name: str, says: str, *arguments: str, model: str = "net", data: str = "data.npy", prepare: Prepare | None = None) -> Case:
    """``ptq quantize`` of a sound program with sound data, but for what is given."""

    def prepared(scene: Scene) -> Act:
        program(scene)
        rows(scene)
        if prepare is not None:
            prepare(scene)
        return lambda: run("quantize", model, "--data", data, *(arguments if "--out" in arguments else ("--out", "int8/net", *arguments)))

    return Case("quantize", name, QuantizationError, f"^ptq: .*{says}", prepared)


def other(name: str, says: str, *arguments: str, prepare: Prepare | None = None) -> Case:
    """Another command in a folder with the program ``net``, the saved model ``a`` and data."""

    def prepared(scene: Scene) -> Act:
        program(scene)
        rows(scene)
        scene.copy()
        if prepare is not None:
            prepare(scene)
        return lambda: run(*arguments)

    return Case("quantize", name, QuantizationError, f"^ptq: .*{says}", prepared)


def cut(name: str) -> Prepare:
    def spoil(scene: Scene) -> None:
        path = scene.folder / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[: len(content) // 2])

    return spoil


def others_parameters(scene: Scene) -> None:
    program(scene, "wide", nn.Linear(4, 9))
    shutil.move(str(scene.folder / "wide.pdiparams"), scene.folder / "net.pdiparams")


def full_disk(scene: Scene) -> None:
    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    scene.patch.setattr("paddle.jit.save", no_space)


def module(text: str) -> Prepare:
    """Data from a module that is new to the process, and leaves it again."""

    def write(scene: Scene) -> None:
        import sys

        scene.write("hostile_batches.py", f"import numpy as np\n{text}\n".encode())
        scene.patch.setattr(sys, "path", [str(scene.folder), *sys.path])
        scene.patch.setattr(sys, "dont_write_bytecode", True)
        scene.patch.delitem(sys.modules, "hostile_batches", raising=False)

    return write


def pickled(scene: Scene) -> None:
    scene.write("data.npy", pickle.dumps(Harmful()))


def objects(scene: Scene) -> None:
    np.save(scene.folder / "data.npy", np.array([Harmful()], dtype=object), allow_pickle=True)


def archive(**arrays: Any) -> Prepare:
    return lambda scene: np.savez(scene.folder / "data.npz", **arrays)


def folder_of_text(scene: Scene) -> None:
    (scene.folder / "texts").mkdir()
    scene.write("texts/a.txt", b"no picture")


DATA = [
    quantizing("data that is nowhere", "there is no data nowhere", data="nowhere"),
    quantizing("data below a folder that is nowhere", "nowhere is no folder", data="nowhere/a.npy"),
    quantizing(
        "data that is text", r"data\.csv is no data that can be read", data="data.csv", prepare=lambda s: s.write("data.csv", b"1,2\n")
    ),
    quantizing("data that is cut", r"data\.npy cannot be read as arrays", prepare=cut("data.npy")),
    quantizing("data that is empty", r"data\.npy cannot be read as arrays", prepare=lambda s: s.write("data.npy", b"")),
    quantizing("data that is a pickle", r"Python objects, which are never loaded", prepare=pickled),
    quantizing("data that holds objects", r"Python objects, which are never loaded", prepare=objects),
    quantizing("data of another shape", r"shape \[8, 4, 8, 8\].*'x' is float32 \[\?, 3, \?, \?\]", prepare=lambda s: rows(s, 8, 4, 8, 8)),
    quantizing("data of another rank", r"shape \[8, 10\]", prepare=lambda s: rows(s, 8, 10)),
    quantizing(
        "data without samples", "holds 0 samples", prepare=lambda s: np.save(s.folder / "data.npy", np.zeros((0, 3, 8, 8), "float32"))
    ),
    quantizing("pictures of bytes", "holds uint8", prepare=lambda s: np.save(s.folder / "data.npy", np.zeros((2, 3, 8, 8), "uint8"))),
    quantizing("data with NaN", "batch 0", prepare=lambda s: rows(s, value=float("nan"))),
    quantizing("data with infinity", "batch 0", prepare=lambda s: rows(s, value=float("inf"))),
    quantizing(
        "pictures too small for the kernels", "batch 0: a tensor of shape .* has no elements", prepare=lambda s: rows(s, 4, 3, 2, 2)
    ),
    quantizing(
        "an archive without the input", "a, b, but the model takes x", data="data.npz", prepare=archive(a=np.zeros(3), b=np.zeros(3))
    ),
    quantizing("an archive of nothing", "holds nothing", data="data.npz", prepare=archive()),
    quantizing(
        "an archive that is cut",
        "cannot be read as arrays",
        data="data.npz",
        prepare=lambda s: (archive(x=np.zeros(9))(s), cut("data.npz")(s)),
    ),
]
PICTURES = [
    quantizing("a folder without pictures", "texts holds no pictures", data="texts", prepare=folder_of_text),
    quantizing(
        "one picture in nine unreadable",
        r"1 of 9 pictures cannot be read, more than 10%: z0\.jpg",
        data="photos",
        prepare=lambda s: photos(s, b"no picture"),
    ),
    quantizing("half the pictures empty", r"1 of 13 .*2 of 13|2 of 13 pictures", data="photos", prepare=lambda s: photos(s, *[b""] * 5)),
    quantizing("a mean of two numbers", "mean has 2 numbers", "--mean", "0.1,0.2", data="photos", prepare=photos),
    quantizing("picture options for arrays", "--mean, --bgr belong to a folder", "--mean", "0.5", "--bgr"),
    quantizing(
        "pictures for a model of rows",
        "this one takes x float32",
        model="flat",
        data="photos",
        prepare=lambda s: (photos(s), program(s, "flat", nn.Linear(4, 2))),
    ),
    quantizing(
        "a size that contradicts --input",
        "height 7, but the model takes",
        "--size",
        "7x8",
        "--input",
        "x=-1,3,8,8",
        data="photos",
        prepare=photos,
    ),
]
FUNCTIONS = [
    quantizing("a module that is nowhere", "no_such_batches:f raises ModuleNotFoundError", data="no_such_batches:f"),
    quantizing("a module that fails", "raises ZeroDivisionError", data="hostile_batches:f", prepare=module("1 / 0")),
    quantizing("a function that is missing", "has no f", data="hostile_batches:f", prepare=module("")),
    quantizing("a function that needs arguments", "raises TypeError", data="hostile_batches:f", prepare=module("def f(x): return []")),
    quantizing("a function that returns nothing", "returns a NoneType", data="hostile_batches:f", prepare=module("def f(): pass")),
    quantizing("a function without batches", "yields no batch", data="hostile_batches:f", prepare=module("def f(): return []")),
    quantizing("a function that yields text", "batch 0 is of type str", data="hostile_batches:f", prepare=module("def f(): yield 'a'")),
    quantizing(
        "a function that fails in the second batch",
        "raises KeyError: 'gone'",
        data="hostile_batches:f",
        prepare=module("def f():\n    yield np.zeros((2, 3, 8, 8), 'float32')\n    raise KeyError('gone')"),
    ),
    quantizing(
        "a function with other names",
        "batch 0 has y, but the program takes x",
        data="hostile_batches:f",
        prepare=module("def f(): yield {'y': np.zeros((2, 3, 8, 8), 'float32')}"),
    ),
]
MODELS = [
    quantizing("a model that is nowhere", r"there is no saved program nowhere\.json", model="nowhere"),
    quantizing("a model that is cut", r"net\.json", prepare=cut("net.json")),
    quantizing("parameters that are cut", r"net\.pdiparams", prepare=cut("net.pdiparams")),
    quantizing("parameters of another program", r"net\.pdiparams", prepare=others_parameters),
    quantizing("a model without parameters", r"net\.pdiparams", prepare=lambda s: (s.folder / "net.pdiparams").unlink()),
    quantizing("a model of this project", r"was quantized and saved by this project.*ptq\.load", model="a", prepare=lambda s: s.copy()),
    quantizing("a model that is data", r"data\.npy", model="data.npy"),
    quantizing("an input that is none", "the model has no input 'y'; it takes x", "--input", "y=-1,3,8,8"),
    quantizing("an input that contradicts", "--input x=-1,4,8,8 contradicts the model", "--input", "x=-1,4,8,8"),
    quantizing(
        "batches that contradict", "--batch-size is 3, but the model takes batches of 2", "--batch-size", "3", "--input", "x=2,3,8,8"
    ),
]
SETTINGS = [
    quantizing("a config that is nowhere", r"config\.json cannot be read", "--config", "config.json"),
    quantizing(
        "a config that is text",
        r"config\.json is not valid JSON",
        "--config",
        "config.json",
        prepare=lambda s: s.write("config.json", b"8 bits"),
    ),
    quantizing("float layers that are none", "'head' matches no layer", "--float-layers", "head"),
    quantizing("metadata that is nowhere", r"keys\.txt cannot be read", "--metadata", "character=keys.txt", "--formats", "jit,onnx"),
    quantizing(
        "metadata that nothing keeps",
        "only the format 'onnx' keeps metadata",
        "--metadata",
        "a=a.txt",
        prepare=lambda s: s.write("a.txt", b"a"),
    ),
    quantizing("a place below a file", "data.npy is no folder", "--out", "data.npy/int8"),
    quantizing("a place that is a folder", "is no prefix of files", "--out", "int8/"),
    quantizing("a report below a file", "data.npy is no folder", "--report", "data.npy/report.json"),
    quantizing("a full disk", "No space left on device", "--out", "int8", prepare=full_disk),
]
OTHERS = [
    other("check of nothing", "there is no saved program nowhere", "check", "nowhere"),
    other("check of a quantized model", r"open it with ptq\.load", "check", "a"),
    other("coverage of nothing", r"nowhere\.ptq\.coverage\.json cannot be read", "coverage", "nowhere"),
    other("coverage of a program", r"net\.ptq\.coverage\.json cannot be read", "coverage", "net"),
    other("coverage that is cut", "is no coverage ledger", "coverage", "a", prepare=cut("a.ptq.coverage.json")),
    other("comparing with nothing", "there is no saved program nowhere", "compare", "net", "nowhere", "--data", "data.npy"),
    other(
        "comparing with a spoilt model",
        r"a\.pdiparams is not the file",
        "compare",
        "net",
        "a",
        "--data",
        "data.npy",
        prepare=cut("a.pdiparams"),
    ),
    other(
        "comparing with a spoilt ONNX file",
        r"a\.onnx is not the file",
        "compare",
        "net",
        "a.onnx",
        "--data",
        "data.npy",
        prepare=cut("a.onnx"),
    ),
    other(
        "comparing with another net",
        r"output 0 is \[8, 2\] in one model and \[8, 3\]",
        "compare",
        "net",
        "a",
        "--data",
        "small.npy",
        prepare=lambda s: rows(s, 8, 3, 6, 6, name="small.npy"),
    ),
    other("comparing on data that is nowhere", "there is no data nowhere", "compare", "net", "net", "--data", "nowhere"),
]
CASES = [*DATA, *PICTURES, *FUNCTIONS, *MODELS, *SETTINGS, *OTHERS]
