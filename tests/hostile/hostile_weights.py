"""Integer weights without data, dynamic layers, embeddings and states, asked for what cannot be."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import paddle
from hostile_case import Act, Case, Scene, net
from hostile_commands import command, usage
from hostile_files import Harmful
from models import data
from paddle import nn

import ptq
from ptq import QuantOverride, slim
from ptq.weights.settings import WeightSettings
from ptq.weights.state.stream import MANIFEST_SUFFIX, quantize_state
from quantizers.errors import (
    AlreadyQuantizedError,
    ArtifactError,
    ConfigError,
    CorruptArtifactError,
    ModelError,
    NoCalibrationDataError,
    NonFiniteError,
    ProgramError,
    QuantizationWarning,
)

__all__ = ["CASES"]


def weights(name: str, expected: type[BaseException], says: str, model: Callable[[], nn.Layer] = net, **options: Any) -> Case:
    """`quantize_weights` of the user's model."""
    return Case("weights", name, expected, says, lambda s: partial(ptq.quantize_weights, s.watch(model()), progress=False, **options))


def dynamic(name: str, expected: type[BaseException], says: str, model: Callable[[], nn.Layer] = net, **options: Any) -> Case:
    """`quantize_dynamic` of the user's model."""
    return Case("weights", name, expected, says, lambda s: partial(ptq.quantize_dynamic, s.watch(model()), progress=False, **options))


def with_weight(value: float) -> Callable[[], nn.Layer]:
    def make() -> nn.Layer:
        model = net()
        model[2].weight.set_value(paddle.full([4, 2], value))
        return model

    return make


class Own(nn.Linear):  # type: ignore[misc]
    """A Linear layer that computes something else, and is not registered."""

    def forward(self, input: Any) -> Any:
        return super().forward(input) ** 2


class Uncopyable(nn.Layer):  # type: ignore[misc]
    """Refuses to be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.fc(x)

    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("no copies of this")


def calibrating() -> nn.Layer:
    return ptq.ImperativePTQ().quantize(net())


def twice() -> nn.Layer:
    return ptq.quantize_weights(net(), progress=False).model


def overridden(_: Scene) -> Act:
    return lambda: QuantOverride(dynamic="column")


def saving(scene: Scene) -> Act:
    result = ptq.quantize_weights(scene.watch(net()), progress=False)
    return lambda: result.save(scene.folder / "m")


def baseline(scene: Scene) -> Act:
    result = ptq.quantize_weights(scene.watch(net()), progress=False, input_spec=[paddle.static.InputSpec([None, 4], "float32")])
    return lambda: result.save(scene.folder / "m", float_baseline=True)


def state(name: str, expected: type[BaseException], says: str, prepare: Callable[[Scene], str], **options: Any) -> Case:
    """`quantize_state` of a file that ``prepare`` writes and names."""

    def prepared(scene: Scene) -> Act:
        source = scene.folder / prepare(scene)
        return lambda: quantize_state(source, scene.folder / "out", WeightSettings(4, 16), progress=False, **options)

    return Case("state", name, expected, says, prepared)


def pickled(value: Any, protocol: int = 4) -> Callable[[Scene], str]:
    def prepare(scene: Scene) -> str:
        return scene.write("s.pdparams", pickle.dumps(value, protocol=protocol)).name

    return prepare


def raw(name: str, content: bytes) -> Callable[[Scene], str]:
    return lambda scene: scene.write(name, content).name


def tensors(header: Any, content: bytes = bytes(64)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


MATRIX = {"w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}


def loading(name: str, expected: type[BaseException], says: str, change: Callable[[Scene], Any], **options: Any) -> Case:
    """`load_weights` of a state of `net` into what ``change`` returns, by default `net` again."""

    def prepared(scene: Scene) -> Act:
        model = net()
        paddle.save(model.state_dict(), str(scene.folder / "s.pdparams"))
        quantize_state(scene.folder / "s.pdparams", scene.folder / "w", WeightSettings(4, 16), progress=False)
        target = change(scene)
        into = model if target is None else target
        return lambda: ptq.load_weights(into, scene.folder / "w.safetensors", **options)

    return Case("state", name, expected, says, prepared)


def spoilt(scene: Scene) -> None:
    file = scene.folder / "w.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def without_manifest(scene: Scene) -> None:
    (scene.folder / f"w.safetensors{MANIFEST_SUFFIX}").unlink()


def foreign(scene: Scene) -> None:
    scene.write("w.safetensors", tensors(MATRIX))


def embedding(name: str, says: str, config: Any = None, program: Callable[[], Any] = lambda: nn.Embedding(4, 4), **options: Any) -> Case:
    return Case("slim", name, ConfigError, says, lambda _: partial(slim.quant_embedding, program(), None, config, **options))


def post_dynamic(name: str, expected: type[BaseException], says: str, **options: Any) -> Case:
    def prepared(scene: Scene) -> Act:
        given = {"model_dir": str(scene.folder / "none"), "save_model_dir": str(scene.folder / "out"), **options}
        return partial(slim.quant_post_dynamic, **given)

    return Case("slim", name, expected, says, prepared)


CASES = [
    weights("nine bits", ConfigError, "bits must be one of .*got 9", bits=9),
    weights("a group of 48", ConfigError, "group_size must be .*48", group_size=48),
    weights("an unknown algorithm", ConfigError, "algorithm must be one of .*'best'", algorithm="best"),
    weights("symmetric by a number", ConfigError, "symmetric must be True or False, got 1", symmetric=1),
    weights("blocks in one grid", ConfigError, "group_size=32 needs grids", group_size=32, per_channel=False),
    weights("gptq without data", ConfigError, "'gptq' goes by what the layers read", algorithm="gptq"),
    weights("data for absmax", ConfigError, "'absmax' uses no data", data=[data(4, 4)]),
    weights("gptq with no batch", NoCalibrationDataError, "yields no batch", algorithm="gptq", data=[]),
    weights("gptq with one tensor", ConfigError, "iterable of batches", algorithm="gptq", data=data(4, 4)),
    weights("gptq with NaN in the data", NonFiniteError, "holds NaN or Inf", algorithm="gptq", data=[data(4, 4) * float("nan")]),
    weights("no layers", ConfigError, r"layers must be .*\[\]", layers=[]),
    weights("a layer by its number", ConfigError, "layers must hold names", layers=[2]),
    weights("a layer that is not there", ConfigError, "'conv9' matches no layer", layers="conv9"),
    weights("a class that is not there", ConfigError, "LSTM matches", layers=nn.LSTM),
    weights("log of 4 bits", ConfigError, "'log' has 8 bits", algorithm="log", bits=4),
    weights("log without an embedding", ModelError, "no float layer", algorithm="log"),
    weights("an infinite weight", NonFiniteError, r"'2\.weight' holds NaN or Inf", with_weight(float("inf"))),
    weights("a weight that is NaN", NonFiniteError, r"'2\.weight' holds NaN or Inf", with_weight(float("nan")), bits=4, group_size=16),
    weights("a model without weights", ModelError, "no float layer", nn.ReLU),
    weights("a model that is quantized", ModelError, "quantized already", twice),
    weights("a model under calibration", AlreadyQuantizedError, "is being calibrated", calibrating),
    weights("a model that cannot be copied", ModelError, "cannot be copied .*no copies of this", Uncopyable),
    weights("a forward of its own", QuantizationWarning, "a forward of their own: 0 .Own.",
            lambda: nn.Sequential(Own(4, 4), nn.Linear(4, 4))),
    weights("gptq of an embedding", QuantizationWarning, "gptq is for Linear", lambda: nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 2)),
            algorithm="gptq", data=[paddle.to_tensor([[1, 2]])]),
    Case("weights", "a number as model", ConfigError, "path of a saved program, got 3", lambda _: partial(ptq.quantize_weights, 3)),
    Case("weights", "no program there", ProgramError, "nothing", lambda s: partial(ptq.quantize_weights, str(s.folder / "nothing"))),
    Case("weights", "saved without shapes", ConfigError, "input_spec is needed", saving),
    Case("weights", "a baseline that was not kept", ModelError, "float layers .* are not known", baseline),
    Case("weights", "advice on a number", ConfigError, "got 7", lambda _: partial(ptq.advise, 7)),
    dynamic("16 bits", ConfigError, "2 to 8, got 16", weight_bits=16),
    dynamic("a grid per column", ConfigError, "granularity must be .*'column'", granularity="column"),
    dynamic("dynamic under calibration", AlreadyQuantizedError, "is being calibrated", calibrating),
    Case("weights", "an override per column", ConfigError, "dynamic must be True, False", overridden),
    embedding("an unknown type", "quantize_type of lookup_table", {"quantize_type": "mse"}),
    embedding("four bits", "quantize_bits of lookup_table", {"quantize_bits": 4}),
    embedding("an unknown key", "config has no 'bits'", {"bits": 8}),
    embedding("a threshold of zero", "threshold of lookup_table", {"threshold": 0}),
    embedding("an operator of the past", "no operator of pyramid_hash", {"quantize_op_types": ["pyramid_hash"]}),
    embedding("no embedding", "has no embedding", program=net),
    embedding("a static program", "got Program", program=paddle.static.Program),
    embedding("a scope by name", "scope must be", scope="global"),
    post_dynamic("no program to quantize", ProgramError, "none"),
    post_dynamic("PaddleSlim with 4 bits", ConfigError, "weight_bits must be 8 or 16, got 4", weight_bits=4),
    post_dynamic("a test model by number", ConfigError, "generate_test_model must be", generate_test_model=1),
    state("a state that is not there", ArtifactError, "there is no file", lambda _: "none.pdparams"),
    state("a picture", ArtifactError, "no state that can be read", raw("s.png", b"png")),
    state("a pickle with a command in it", ArtifactError, "is not called", pickled({"w": Harmful()})),
    state("a pickle of old", CorruptArtifactError, "none of those that Paddle writes", pickled({"w": np.ones(3)}, 0)),
    state("a list of tensors", CorruptArtifactError, "holds no tensors by name", pickled([np.ones(3)])),
    state("an optimizer's state", CorruptArtifactError, "'step' is no tensor", pickled({"step": 3})),
    state("slices of tensors", ArtifactError, "cut into slices", pickled({"UnpackBigParamInfor@@": {}})),
    state("half a pickle", CorruptArtifactError, "cut short", raw("s.pdparams", pickle.dumps({"w": np.ones(300)}, protocol=4)[:900])),
    state("an empty file", CorruptArtifactError, "cut short", raw("s.pdparams", b"")),
    state("complex numbers", ArtifactError, "a data type that is not read", pickled({"w": np.ones((3, 3), "complex64")})),
    state("columns first", ArtifactError, "column by column", pickled({"w": np.asfortranarray(np.ones((3, 4)))})),
    state("vectors alone", ConfigError, "nothing in this state", pickled({"b": np.ones(3)})),
    state("a state with NaN", NonFiniteError, "'w' .* holds NaN", pickled({"w": np.full((4, 4), np.nan)})),
    state("a header that is none", CorruptArtifactError, "not valid JSON", raw("s.safetensors", tensors(b"{{{{"))),
    state("a header that lies", CorruptArtifactError, "does not lie in the file", raw("s.safetensors", tensors(MATRIX, bytes(8)))),
    state("an unknown data type", CorruptArtifactError, "does not describe 'w'",
          raw("s.safetensors", tensors({"w": {"dtype": "F4", "shape": [1], "data_offsets": [0, 4]}}))),
    state("an index of nothing", CorruptArtifactError, "no weight_map", raw("s.safetensors.index.json", b"{}")),
    state("an index of what is gone", ArtifactError, "not there",
          raw("s.safetensors.index.json", b'{"weight_map": {"w": "a.safetensors"}}')),
    state("everything skipped", ConfigError, "nothing in this state", raw("s.safetensors", tensors(MATRIX)), skip=["*"]),
    loading("a bit that flipped", CorruptArtifactError, "is not the file of its manifest", spoilt),
    loading("no manifest", ArtifactError, "manifest", without_manifest),
    loading("another's file", ArtifactError, "was not written by", foreign, verify=False),
    loading("another model", ModelError, "it is another model's state", lambda _: nn.Linear(4, 4)),
    loading("a wider model", ModelError, r"'0\.weight' is \[4, 8\]", lambda _: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))),
    loading("no model", ConfigError, "must be a paddle.nn.Layer", lambda _: "net"),
    command("a command without a state", "there is no file", "quantize-weights", "none.pdparams", "--out", "w"),
    usage("a command with nine bits", "quantize-weights", "s.pdparams", "--out", "w", "--bits", "9"),
]  # fmt: skip
