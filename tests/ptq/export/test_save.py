"""`save_quantized_model`: what is written, and that it answers as the model in memory does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from fresh import answers_of
from models import Net, absmax, calibrated, converted, data, relative, small_net
from paddle import nn
from paddle.static import InputSpec

import ptq
from ptq import ImperativePTQ
from ptq.layers import QuantizedLayer
from quantizers.errors import ConfigError, ModelError, QuantizationWarning

IMAGE = (2, 3, 8, 8)
SPEC = [InputSpec([None, 3, 8, 8], "float32")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Layer]:
    """A saved model and the model in memory; tests only read them."""
    paddle.seed(0)
    engine = ImperativePTQ()
    prepared = calibrated(small_net(), data(*IMAGE), data(5, 3, 8, 8, seed=1), fuse=True)
    path = tmp_path_factory.mktemp("saved") / "int8" / "model"  # the folder is made
    model = engine.save_quantized_model(prepared, str(path))
    return path, model


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves without the fresh process, where a test is not about it."""
    monkeypatch.setattr("ptq.export.save.check_artifact", lambda *_: 0.0)


def test_files(saved: tuple[Path, nn.Layer]) -> None:
    path, _ = saved
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "model.json",
        "model.pdiparams",
        "model.ptq.coverage.json",
        "model.ptq.json",
    ]


def test_manifest(saved: tuple[Path, nn.Layer]) -> None:
    path, _ = saved
    manifest = json.loads(Path(f"{path}.ptq.json").read_text(encoding="utf-8"))
    assert manifest["version"] == 1
    assert sorted(manifest["files"]) == [".json", ".pdiparams", ".ptq.coverage.json"]
    for suffix, entry in manifest["files"].items():
        content = Path(f"{path}{suffix}").read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert manifest["quantized_layers"] == 3
    assert manifest["paddle"] == paddle.__version__
    assert [spec["shape"] for spec in manifest["inputs"]] == [[-1, 3, 8, 8]]


def test_the_answer_is_the_converted_model(saved: tuple[Path, nn.Layer]) -> None:
    _, model = saved
    assert sum(isinstance(layer, QuantizedLayer) for layer in model.sublayers()) == 3


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_loaded_model_answers_exactly_for_every_batch_size(saved: tuple[Path, nn.Layer], batch: int) -> None:
    path, model = saved
    x = data(batch, 3, 8, 8, seed=batch)
    for load in (ptq.load, paddle.jit.load):
        assert relative(load(str(path))(x), model(x)) <= 1e-6
    assert relative(ptq.load(path)(x), model(x)) <= 1e-6  # a Path too


def test_plain_paddle_loads_it_in_a_fresh_process(saved: tuple[Path, nn.Layer], tmp_path: Path) -> None:
    path, model = saved
    x = data(3, 3, 8, 8, seed=3)
    assert relative(answers_of(path, x, tmp_path), model(x)) <= 1e-6


@pytest.mark.parametrize("fuse", [True, False])
def test_what_plain_paddle_saves_reloads_equal_in_a_fresh_process(tmp_path: Path, fuse: bool) -> None:
    model = converted(small_net(), data(*IMAGE), fuse=fuse)
    paddle.jit.save(model, str(tmp_path / "model"), input_spec=SPEC)
    x = data(3, 3, 8, 8, seed=3)
    assert relative(answers_of(tmp_path / "model", x, tmp_path), model(x)) <= 1e-6


@pytest.mark.usefixtures("unchecked")
def test_parameters_file_is_a_quarter(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2D(32, 64, 3), nn.ReLU(), nn.Conv2D(64, 64, 3))
    paddle.jit.save(model, str(tmp_path / "float"), input_spec=[InputSpec([None, 32, 8, 8], "float32")])
    prepared = calibrated(model, data(1, 32, 8, 8))
    ImperativePTQ().save_quantized_model(prepared, str(tmp_path / "int8"))
    sizes = [(tmp_path / f"{name}.pdiparams").stat().st_size for name in ("int8", "float")]
    assert sizes[0] <= 0.28 * sizes[1]


# input_spec


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (None, [-1, 3, 8, 8]),
        (SPEC, [-1, 3, 8, 8]),
        (SPEC[0], [-1, 3, 8, 8]),
        ([InputSpec([4, 3, 8, 8], "float32")], [4, 3, 8, 8]),
        ([data(2, 3, 8, 8)], [2, 3, 8, 8]),
        (data(2, 3, 8, 8), [2, 3, 8, 8]),
        ([InputSpec([None, 3, None, None], "float32")], [-1, 3, -1, -1]),
    ],
    ids=["None", "list", "bare", "fixed batch", "tensor in a list", "tensor", "free size"],
)
def test_input_spec(tmp_path: Path, spec: Any, shape: list[int]) -> None:
    model = ImperativePTQ().save_quantized_model(calibrated(small_net(), data(*IMAGE)), str(tmp_path / "model"), input_spec=spec)
    manifest = json.loads((tmp_path / "model.ptq.json").read_text(encoding="utf-8"))
    assert [entry["shape"] for entry in manifest["inputs"]] == [shape]
    x = data(*[2 if size == -1 else size for size in shape[:1]], 3, *[12 if size == -1 else size for size in shape[2:]])
    assert relative(ptq.load(tmp_path / "model")(x), model(x)) <= 1e-6


@pytest.mark.usefixtures("unchecked")
def test_sizes_that_varied_in_calibration_are_free(tmp_path: Path) -> None:
    prepared = calibrated(small_net(), data(2, 3, 8, 8), data(1, 3, 12, 8))
    ImperativePTQ().save_quantized_model(prepared, str(tmp_path / "model"))
    manifest = json.loads((tmp_path / "model.ptq.json").read_text(encoding="utf-8"))
    assert [entry["shape"] for entry in manifest["inputs"]] == [[-1, 3, -1, 8]]
    assert ptq.load(tmp_path / "model")(data(1, 3, 20, 8)).shape == [1, 5]


class TwoInputs(nn.Layer):
    """Takes token numbers and a mask by name; answers with a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.fc = nn.Embedding(11, 4), nn.Linear(4, 4)

    def forward(self, tokens: paddle.Tensor, mask: paddle.Tensor | None = None, scale: float = 1.0) -> dict[str, Any]:
        x = self.fc(self.table(tokens)) * scale
        return {"x": x if mask is None else x * mask, "list": [x.sum(-1), x]}


def test_several_inputs_by_name_and_nested_outputs(tmp_path: Path) -> None:
    engine = ImperativePTQ(absmax())
    model = engine.quantize(TwoInputs())
    tokens, mask = paddle.to_tensor(np.arange(10).reshape(2, 5)), data(2, 5, 1)
    model(tokens, mask=mask)
    model = engine.save_quantized_model(model, str(tmp_path / "model"))
    loaded = ptq.load(tmp_path / "model")
    more = paddle.to_tensor(np.arange(15).reshape(3, 5) % 11)
    answers = paddle.utils.flatten(loaded(more, data(3, 5, 1)))
    expected = paddle.utils.flatten(model(more, data(3, 5, 1)))
    assert len(answers) == len(expected) == 3
    assert all(relative(a, b) <= 1e-6 for a, b in zip(answers, expected, strict=True))


def test_python_arguments_of_calibration_are_kept(tmp_path: Path) -> None:
    engine = ImperativePTQ(absmax())
    model = engine.quantize(TwoInputs())
    tokens = paddle.to_tensor(np.arange(10).reshape(2, 5))
    model(tokens, scale=3.0)
    model = engine.save_quantized_model(model, str(tmp_path / "model"))
    total, x = ptq.load(tmp_path / "model")(tokens)  # a tensor that the model returns twice comes once
    expected = model(tokens, scale=3.0)
    assert relative(total, expected["list"][0]) <= 1e-6
    assert relative(x, expected["x"]) <= 1e-6


def test_without_any_shape_a_spec_is_asked_for(tmp_path: Path) -> None:
    prepared = ImperativePTQ(absmax()).quantize(nn.Sequential(nn.Linear(3, 2)))
    prepared[0](data(4, 3))  # only a part was called
    with pytest.warns(QuantizationWarning, match="never called"), pytest.raises(ConfigError, match="input_spec is needed"):
        ImperativePTQ().save_quantized_model(prepared, str(tmp_path / "model"))
    assert list(tmp_path.iterdir()) == []


# output_spec


def _two_outputs() -> nn.Layer:
    return Net(lambda net, x: (net.a(x), net.b(x)), a=nn.Linear(4, 3), b=nn.Linear(4, 2))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("positions", "shapes"), [([1], [[2, 2]]), ([0], [[2, 3]]), ([0, 1], [[2, 3], [2, 2]]), (None, [[2, 3], [2, 2]])])
def test_output_spec_by_position(tmp_path: Path, positions: Any, shapes: list[list[int]]) -> None:
    prepared, x = calibrated(_two_outputs(), data(2, 4)), data(2, 4, seed=1)
    model = ImperativePTQ().save_quantized_model(prepared, str(tmp_path / "model"), output_spec=positions)
    answers = paddle.utils.flatten(ptq.load(tmp_path / "model")(x))
    assert [answer.shape for answer in answers] == shapes
    expected = model(x)
    for answer, position in zip(answers, positions or [0, 1], strict=True):
        assert relative(answer, expected[position]) <= 1e-6


def test_output_spec_by_tensor(tmp_path: Path) -> None:
    prepared, x = calibrated(_two_outputs(), data(2, 4)), data(2, 4)
    output = prepared(x)[1]
    model = ImperativePTQ().convert(prepared)
    ImperativePTQ().save_quantized_model(model, str(tmp_path / "model"), output_spec=[model(x)[1]])
    assert output.shape == [2, 2]
    assert relative(paddle.utils.flatten(ptq.load(tmp_path / "model")(x))[0], model(x)[1]) <= 1e-6


@pytest.mark.usefixtures("unchecked")
def test_output_spec_in_another_order_is_refused_by_its_name(tmp_path: Path) -> None:
    prepared = calibrated(_two_outputs(), data(2, 4))
    with pytest.raises(ConfigError, match="output_spec"):
        ImperativePTQ().save_quantized_model(prepared, str(tmp_path / "model"), output_spec=[1, 0])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [[2], [-1], ["x"], [0, 0], [], [True], [data(7, 7)]], ids=str)
def test_bad_output_spec(tmp_path: Path, bad: Any) -> None:
    prepared = calibrated(_two_outputs(), data(2, 4))
    with pytest.raises(ConfigError, match="output_spec"):
        ImperativePTQ().save_quantized_model(prepared, str(tmp_path / "model"), output_spec=bad)
    assert list(tmp_path.iterdir()) == []


# the model in memory


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("training", [True, False])
def test_modes_are_restored(tmp_path: Path, training: bool) -> None:
    model = converted(small_net(), data(*IMAGE))
    model.train() if training else model.eval()
    model.bn1.training = not training
    before = {name: layer.training for name, layer in model.named_sublayers(include_self=True)}
    ImperativePTQ().save_quantized_model(model, str(tmp_path / "model"))
    assert {name: layer.training for name, layer in model.named_sublayers(include_self=True)} == before


def test_saved_in_eval_mode_whatever_the_mode(tmp_path: Path) -> None:
    model = Net(lambda net, x: net.drop(net.fc(x)), fc=nn.Linear(4, 4), drop=nn.Dropout(0.9))
    model.eval()
    quantized = converted(model, data(8, 4))
    quantized.train()
    ImperativePTQ().save_quantized_model(quantized, str(tmp_path / "model"))
    x = data(8, 4, seed=1)
    loaded = ptq.load(tmp_path / "model")
    quantized.eval()
    assert relative(loaded(x), quantized(x)) <= 1e-6


@pytest.mark.usefixtures("unchecked")
def test_the_model_can_be_used_and_saved_again(tmp_path: Path) -> None:
    model, x = converted(small_net(), data(*IMAGE)), data(*IMAGE, seed=1)
    expected = model(x).numpy()
    for name in ("first", "second"):
        assert ImperativePTQ().save_quantized_model(model, str(tmp_path / name)) is model
        np.testing.assert_array_equal(model(x).numpy(), expected)
    first, second = (Path(f"{tmp_path}/{name}.pdiparams").read_bytes() for name in ("first", "second"))
    assert first == second


@pytest.mark.usefixtures("unchecked")
def test_an_older_artifact_is_replaced(tmp_path: Path) -> None:
    path, x = tmp_path / "model", data(*IMAGE, seed=1)
    for seed in range(2):
        paddle.seed(seed)
        model = ImperativePTQ().save_quantized_model(calibrated(small_net(), data(*IMAGE)), str(path))
    assert len(list(tmp_path.iterdir())) == 4
    assert relative(ptq.load(path)(x), model(x)) <= 1e-6


@pytest.mark.usefixtures("unchecked")
def test_relative_and_path_like_prefixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = converted(nn.Linear(4, 2), data(2, 4))
    for path in ("model", Path("deep") / "er" / "model", "with.dots.v1.2"):
        ImperativePTQ().save_quantized_model(model, path)
        assert relative(ptq.load(path)(data(2, 4)), model(data(2, 4))) <= 1e-6
    assert (tmp_path / "deep" / "er" / "model.json").is_file()
    assert (tmp_path / "with.dots.v1.2.pdiparams").is_file()


def test_a_leaf_as_the_whole_model(tmp_path: Path) -> None:
    model = ImperativePTQ().save_quantized_model(calibrated(nn.Linear(4, 2), data(2, 4)), str(tmp_path / "model"))
    assert isinstance(model, QuantizedLayer)
    assert relative(ptq.load(tmp_path / "model")(data(3, 4)), model(data(3, 4))) <= 1e-6


@pytest.mark.parametrize("model", [small_net(), nn.ReLU()], ids=["float", "ReLU"])
def test_a_float_model_is_refused(tmp_path: Path, model: nn.Layer) -> None:
    with pytest.raises(ModelError, match="no quantized layer"):
        ImperativePTQ().save_quantized_model(model, str(tmp_path / "model"), input_spec=SPEC)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("thing", [None, "model", nn.Linear])
def test_something_else_is_refused(tmp_path: Path, thing: Any) -> None:
    with pytest.raises(ModelError):
        ImperativePTQ().save_quantized_model(thing, str(tmp_path / "model"))
