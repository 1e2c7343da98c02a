"""States tensor by tensor: what is read, what is written, interrupted and loaded; and files that are refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import relative
from paddle import nn
from weight_nets import numbers

import ptq
from ptq.cli import main
from ptq.weights.settings import WeightSettings
from ptq.weights.state.entry import as_float32
from ptq.weights.state.stream import MANIFEST_SUFFIX, quantize_state
from ptq.weights.state.tensors import header_of, open_state
from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError, ModelError, NonFiniteError

FOUR = WeightSettings(4, 32)


class Net(nn.Layer):
    """All kinds of weights."""

    def __init__(self) -> None:
        super().__init__()
        paddle.seed(0)
        self.tok, self.fc, self.norm = nn.Embedding(50, 40), nn.Linear(40, 48), nn.BatchNorm1D(48)
        self.conv, self.lstm = nn.Conv1D(48, 8, 3, padding=1), nn.LSTM(8, 16)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        hidden = self.conv(self.norm(self.fc(self.tok(x)).transpose([0, 2, 1])))
        return self.lstm(hidden.transpose([0, 2, 1]))[0]


def ids() -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).integers(0, 50, (2, 7)))


@pytest.fixture(scope="module")
def net() -> nn.Layer:
    model = Net()
    model.eval()
    return model


def safetensors(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    kinds = {"float32": "F32", "float64": "F64", "float16": "F16", "int64": "I64", "uint16": "BF16", "int8": "I8"}
    header, _ = header_of([(name, kinds[str(array.dtype)], array.shape) for name, array in arrays.items()], {})
    path.write_bytes(header + b"".join(array.tobytes() for array in arrays.values()))
    return path


def arrays_of(model: nn.Layer) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_are_read_as_paddle_wrote_them(net: nn.Layer, protocol: int, tmp_path: Path) -> None:
    paddle.save(net.state_dict(), str(tmp_path / "s.pdparams"), protocol=protocol)
    found = {entry.name: entry.read() for entry in open_state(tmp_path / "s.pdparams")}
    expected = arrays_of(net)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype for name in expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int64"])
def test_other_data_types(dtype: str, tmp_path: Path) -> None:
    tensor = (numbers(6, 40) * 20).astype(dtype)
    paddle.save({"w": tensor}, str(tmp_path / "s.pdparams"))
    (entry,) = open_state(tmp_path / "s.pdparams")
    np.testing.assert_array_equal(as_float32(entry.read(), entry.dtype), tensor.astype("float32").numpy())


@pytest.mark.parametrize(
    "options", [{"bits": 4, "group_size": 32}, {"bits": 8}, {"bits": 4, "group_size": 16, "symmetric": True}, {"bits": 16}]
)
def test_a_state_loads_as_the_model_quantized_in_memory(net: nn.Layer, options: dict[str, Any], tmp_path: Path) -> None:
    source = safetensors(tmp_path / "s.safetensors", arrays_of(net))
    quantize_state(source, tmp_path / "o.safetensors", WeightSettings(**options), progress=False)
    loaded = ptq.load_weights(Net(), tmp_path / "o.safetensors")
    loaded.eval()
    if options["bits"] < 8:
        expected = ptq.quantize_weights(net, progress=False, **options).model
        np.testing.assert_array_equal(loaded(ids()).numpy(), expected(ids()).numpy())
    assert relative(loaded(ids()), net(ids())) < 0.3
    assert loaded.fc.weight_quantized.dtype == (paddle.int8 if options["bits"] <= 8 else paddle.int16)


def test_a_sharded_state_is_the_same(net: nn.Layer, tmp_path: Path) -> None:
    arrays = arrays_of(net)
    names = list(arrays)
    quantize_state(safetensors(tmp_path / "s.safetensors", arrays), tmp_path / "one", FOUR, progress=False)
    for number, part in enumerate((names[::2], names[1::2])):
        safetensors(tmp_path / f"p{number}.safetensors", {name: arrays[name] for name in part})
    index = {"weight_map": {name: f"p{number % 2}.safetensors" for number, name in enumerate(names)}}
    (tmp_path / "s.safetensors.index.json").write_text(json.dumps(index))
    quantize_state(tmp_path / "s.safetensors.index.json", tmp_path / "two", FOUR, progress=False)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_slabs_change_nothing(net: nn.Layer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = safetensors(tmp_path / "s.safetensors", arrays_of(net))
    quantize_state(source, tmp_path / "one", FOUR, progress=False)
    monkeypatch.setattr("ptq.weights.state.stream.SLAB", 100)
    quantize_state(source, tmp_path / "two", FOUR, progress=False)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_an_interrupted_call_is_gone_on_with(net: nn.Layer, stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ptq.weights.state import stream

    source = safetensors(tmp_path / "s.safetensors", arrays_of(net))
    quantize_state(source, tmp_path / "whole", FOUR, progress=False)
    write, written = stream._write, []

    def failing(*arguments: Any) -> str:
        if len(written) == stop:
            raise KeyboardInterrupt
        written.append(arguments[1].name)
        return write(*arguments)

    monkeypatch.setattr(stream, "_write", failing)
    with pytest.raises(KeyboardInterrupt):
        quantize_state(source, tmp_path / "out", FOUR, progress=False)
    assert not (tmp_path / "out.safetensors").exists()
    again: list[str] = []
    monkeypatch.setattr(stream, "_write", lambda *arguments: (again.append(arguments[1].name), write(*arguments))[1])
    quantize_state(source, tmp_path / "out", FOUR, progress=False)
    assert not set(written) & set(again)
    assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.safetensors", f"out.safetensors{MANIFEST_SUFFIX}"]


def test_what_was_begun_with_other_settings_or_damaged_is_done_anew(net: nn.Layer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ptq.weights.state import stream

    source = safetensors(tmp_path / "s.safetensors", arrays_of(net))
    quantize_state(source, tmp_path / "whole", FOUR, progress=False)
    write, count = stream._write, []
    monkeypatch.setattr(
        stream, "_write", lambda *a: (count.append(1), write(*a))[1] if len(count) < 4 else (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        quantize_state(source, tmp_path / "out", WeightSettings(8), progress=False)
    count.clear()
    with pytest.raises(KeyboardInterrupt):
        quantize_state(source, tmp_path / "out", FOUR, progress=False)
    partial = tmp_path / "out.safetensors.partial"
    data = bytearray(partial.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start : start + 100] = bytes(100)  # of the first tensor, which is done
    partial.write_bytes(data)
    with (tmp_path / "out.safetensors.partial.jsonl").open("a") as file:
        file.write('{"name": "tok.we')
    monkeypatch.setattr(stream, "_write", write)
    quantize_state(source, tmp_path / "out", FOUR, progress=False)
    assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_the_command_line(net: nn.Layer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paddle.save(net.state_dict(), str(tmp_path / "s.pdparams"))
    options = ["--bits", "4", "--group-size", "32", "--skip", "lstm*", "--rows", "tok*"]
    assert main(["quantize-weights", str(tmp_path / "s.pdparams"), "--out", str(tmp_path / "o"), *options]) == 0
    assert "3 of" in capsys.readouterr().out
    loaded = ptq.load_weights(Net(), tmp_path / "o.safetensors")
    assert "weight_ih_l0" in loaded.lstm._parameters
    assert main(["quantize-weights", str(tmp_path / "nothing.pdparams"), "--out", str(tmp_path / "o")]) == 2
    assert "no file" in capsys.readouterr().err


class Evil:
    """Would make a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_nothing_in_a_pickle_is_executed(protocol: int, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    (tmp_path / "s.pdparams").write_bytes(pickle.dumps({"w": np.ones((3, 4)), "x": Evil(trap)}, protocol=protocol))
    with pytest.raises((ArtifactError, CorruptArtifactError), match=r"system|instruction|_frombuffer"):
        open_state(tmp_path / "s.pdparams")
    assert not trap.exists()


@pytest.mark.parametrize(
    "module", ["builtins eval", "os system", "numpy load", "numpy.core.multiarray fromfile", "paddle load", "__builtin__ exec"]
)
def test_functions_are_known_by_their_whole_name(module: str, tmp_path: Path) -> None:
    code = f"\x80\x02c{module.replace(' ', chr(10))}\nX\x01\x00\x00\x00a\x85R.".encode("latin1")
    (tmp_path / "s.pdparams").write_bytes(code)
    with pytest.raises(ArtifactError, match=module.replace(" ", r"\.")):
        open_state(tmp_path / "s.pdparams")


def test_what_is_no_state_is_refused_by_name(tmp_path: Path) -> None:
    cases: dict[str, Any] = {
        "list": [1, 2], "nested": {"opt": {"w": np.ones(3)}}, "numbers": {"w": 3}, "objects": {"w": np.array([None])}, "empty": {},
        "ordered": {"w": np.asfortranarray(np.ones((3, 4)))}, "complex": {"w": np.ones(3, "complex64")},
    }  # fmt: skip
    for name, value in cases.items():
        (tmp_path / f"{name}.pdparams").write_bytes(pickle.dumps(value, protocol=4))
        with pytest.raises((ArtifactError, CorruptArtifactError)):
            open_state(tmp_path / f"{name}.pdparams")
    (tmp_path / "good.pdparams").write_bytes(pickle.dumps(OrderedDict(w=np.ones((3, 4))), protocol=4))
    assert [entry.shape for entry in open_state(tmp_path / "good.pdparams")] == [(3, 4)]


def test_every_cut_of_a_file_is_an_error_by_name(net: nn.Layer, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pickle.dump({"w": np.ones((3, 40), "float32"), "b": np.ones(3)}, buffer, protocol=4)
    whole = {".pdparams": buffer.getvalue(), ".safetensors": safetensors(tmp_path / "s.safetensors", arrays_of(net)).read_bytes()[:3000]}
    for ending, data in whole.items():
        for length in range(0, len(data) - 1, max(len(data) // 40, 1)):
            (tmp_path / f"cut{ending}").write_bytes(data[:length])
            with pytest.raises((ArtifactError, CorruptArtifactError)):
                [entry.read() for entry in open_state(tmp_path / f"cut{ending}")]


@pytest.mark.parametrize(
    "header",
    [b"[]", b"{", b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', b'{"w":{"dtype":"F9","shape":[1],"data_offsets":[0,4]}}',
     b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,-4]}}', b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', b'{"w":3}'],
)  # fmt: skip
def test_safetensors_that_lie(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(CorruptArtifactError):
        open_state(tmp_path / "s.safetensors")


def test_loading_refuses_what_does_not_fit(net: nn.Layer, tmp_path: Path) -> None:
    source, out = safetensors(tmp_path / "s.safetensors", arrays_of(net)), tmp_path / "o.safetensors"
    quantize_state(source, out, FOUR, progress=False)
    for other in (nn.Linear(3, 3), nn.LayerList([Net()]), nn.Sequential(Net().fc)):
        with pytest.raises(ModelError):
            ptq.load_weights(other, out)
    wide = Net()
    wide.fc = nn.Linear(40, 49)
    with pytest.raises(ModelError, match=r"fc\.weight"):
        ptq.load_weights(wide, out)
    with pytest.raises(ArtifactError, match="quantize-weights"):
        ptq.load_weights(Net(), source)
    with pytest.raises(ConfigError):
        ptq.load_weights("net", out)  # type: ignore[arg-type]
    data = bytearray(out.read_bytes())
    data[-1] ^= 1
    out.write_bytes(data)
    with pytest.raises(CorruptArtifactError, match="manifest"):
        ptq.load_weights(Net(), out)


def test_states_refuse_what_they_cannot_do(net: nn.Layer, tmp_path: Path) -> None:
    source = safetensors(tmp_path / "s.safetensors", arrays_of(net))
    for settings in (WeightSettings(4, 32, "gptq"), WeightSettings(algorithm="log"), WeightSettings(per_channel=False)):
        with pytest.raises(ConfigError):
            quantize_state(source, tmp_path / "o", settings, progress=False)
    with pytest.raises(ArtifactError, match="source itself"):
        quantize_state(source, source, FOUR, progress=False)
    with pytest.raises(ConfigError, match="nothing"):
        quantize_state(source, tmp_path / "o", FOUR, skip=["*"], progress=False)
    quantize_state(source, tmp_path / "o", FOUR, progress=False)
    with pytest.raises(ArtifactError, match="quantized already"):
        quantize_state(tmp_path / "o.safetensors", tmp_path / "again", FOUR, progress=False)
    bad = safetensors(tmp_path / "bad.safetensors", {"w": np.full((3, 4), np.nan, "float32")})
    with pytest.raises(NonFiniteError, match="'w'"):
        quantize_state(bad, tmp_path / "o", FOUR, progress=False)


@pytest.mark.slow
def test_memory_is_that_of_the_largest_tensor(tmp_path: Path) -> None:
    """256 MB in tensors of 32 MB: at most twice the largest and 300 MB over Paddle alone."""
    array = np.random.default_rng(0).standard_normal((2048, 4096)).astype("float32")
    source = safetensors(tmp_path / "s.safetensors", {f"l{number}.weight": array for number in range(8)})

    def peak(work: str) -> float:
        code = f"{work}\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return int(process.stdout.split()[-1]) / 1024

    alone = peak("import paddle")
    options = ["quantize-weights", str(source), "--out", str(tmp_path / "o"), "--bits", "4", "--group-size", "64"]
    used = peak(f"from ptq.cli import main; assert main({options!r}) == 0")
    assert used - alone < 2 * 32 + 300
