"""One call: the same as its parts, on layers and on saved programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import absmax, data
from paddle import nn
from paddle.static import InputSpec
from saved_nets import PictureNet, TwoInputs, save_net, without_checks

import ptq
from ptq import ImperativePTQ, PTQConfig
from quantizers.errors import CalibrationError, ConfigError, ModelError, NoCalibrationDataError, ProgramError

BATCHES = [data(4, 3, 12, 12, seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("program") / "net"
    paddle.seed(0)
    save_net(prefix)
    return prefix


def by_hand(model: nn.Layer, config: PTQConfig) -> nn.Layer:
    engine = ImperativePTQ(config)
    prepared = engine.quantize(model, fuse=True)
    for batch in BATCHES:
        prepared(batch)
    return engine.convert(prepared)


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_a_layer_is_quantized_as_by_hand(tmp_path: Path, placement: str) -> None:
    net = save_net(tmp_path / "net")
    before = {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}
    config = absmax()
    result = ptq.quantize_model(net, [(batch, 7) for batch in BATCHES], config, placement=placement)
    assert config.placement == "compute", "the user's own config stays as it is"
    expected = by_hand(net, PTQConfig(absmax().in_act_quantizer, absmax().wt_quantizer, placement=placement))
    with paddle.no_grad():
        np.testing.assert_array_equal(result.model(BATCHES[0]).numpy(), expected(BATCHES[0]).numpy())
    assert result.report.placement == placement
    assert (result.report.samples, result.report.batches) == (12, 3)
    assert list(result.report.seconds) == ["check", "quantize", "calibrate", "convert"]
    assert all(np.array_equal(before[name], tensor.numpy()) for name, tensor in net.state_dict().items())
    assert type(net.conv1) is nn.Conv2D


def test_a_saved_program_is_loaded_and_takes_dicts_by_name(program: Path) -> None:
    result = ptq.quantize_model(str(program), [{"labels": 1, "pic": batch.numpy()} for batch in BATCHES], absmax())
    expected = by_hand(ptq.load_program(program), absmax())
    with paddle.no_grad():
        np.testing.assert_array_equal(result.model(BATCHES[1]).numpy(), expected(BATCHES[1]).numpy())
    assert result.report.source == str(program)
    assert next(iter(result.report.seconds)) == "load"


def test_several_inputs_go_by_name_or_by_order(tmp_path: Path) -> None:
    save_net(tmp_path / "net", net=TwoInputs())
    numbers, code = data(8, 6), paddle.to_tensor([0, 1, 2, 3, 4, 0, 1, 2])
    results = [
        ptq.quantize_model(tmp_path / "net", [batch], absmax())
        for batch in ({"code": code, "numbers": numbers}, (numbers, code, "label"), [numbers.numpy(), code.numpy()])
    ]
    with paddle.no_grad():
        answers = [result.model(numbers, code).numpy() for result in results]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])
    with pytest.raises(CalibrationError, match="batch 0 has code, but the program takes numbers, code: numbers missing"):
        ptq.quantize_model(tmp_path / "net", [{"code": code}])


def test_a_stream_is_read_once_and_no_further_than_asked(program: Path) -> None:
    read = []

    def stream() -> Iterator[Any]:
        for number, batch in enumerate(BATCHES):
            read.append(number)
            yield batch

    assert ptq.quantize_model(program, stream(), absmax(), max_batches=2, progress=False).report.batches == 2
    assert read == [0, 1]


def test_input_fn_makes_the_arguments(program: Path) -> None:
    result = ptq.quantize_model(program, [{"image": batch} for batch in BATCHES], absmax(), input_fn=lambda batch: (batch["image"],))
    assert result.report.samples == 12


def test_the_report_for_people_and_programs(program: Path, tmp_path: Path) -> None:
    report = ptq.quantize_model(program, BATCHES, PTQConfig(overrides={"Linear*": None})).report
    assert re.search(r"placement compute, calibrated with 12 samples in 3 batches \(load", str(report))
    assert "check of Program: nothing found" in str(report)
    assert "1 matmul: " in str(report), "what stayed float, and why"
    report.to_json(tmp_path / "report.json")
    stored = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert stored["calibrated"] == {"samples": 12, "batches": 3}
    assert stored["coverage"]["totals"]["ops"]["float"] == sum(row.state == "float" for row in report.coverage.rows) > 0
    assert stored["bytes"] == report.bytes < stored["float_bytes"]


def test_findings_of_the_check_are_in_the_report() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with paddle.no_grad():
        net[0].weight[:, 1] = 0.0
    net.eval()
    report = ptq.quantize_model(net, [data(8, 4)], absmax()).report
    assert "zero-channels" in [finding.code for finding in report.check]


def test_saving_keeps_the_free_sizes_of_the_file(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_checks(monkeypatch)
    result = ptq.quantize_model(program, BATCHES, absmax())
    expected = result.model(data(2, 3, 20, 16)).numpy()
    result.save(tmp_path / "int8", verbose=False, float_baseline=True)
    np.testing.assert_array_equal(ptq.load(tmp_path / "int8")(data(2, 3, 20, 16)).numpy(), expected)
    assert (tmp_path / "float_int8.json").exists()
    manifest = json.loads((tmp_path / "int8.ptq.json").read_text(encoding="utf-8"))
    assert manifest["inputs"] == [{"shape": [-1, 3, -1, -1], "dtype": "paddle.float32"}]


def test_saving_a_layer_takes_the_spec_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_checks(monkeypatch)
    net = PictureNet()
    net.eval()
    spec = [InputSpec([None, 3, None, 12], "float32", "image")]
    ptq.quantize_model(net, BATCHES, absmax(), input_spec=spec).save(tmp_path / "int8", verbose=False)
    manifest = json.loads((tmp_path / "int8.ptq.json").read_text(encoding="utf-8"))
    assert manifest["inputs"] == [{"shape": [-1, 3, -1, 12], "dtype": "paddle.float32"}]


def test_metadata_reaches_the_onnx_file(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_checks(monkeypatch)
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("paddle2onnx")
    result = ptq.quantize_model(program, BATCHES, absmax())
    result.save(tmp_path / "int8", ("jit", "onnx"), metadata={"character": ["a", " ", "字"], "author": "me"}, verbose=False)
    found = {item.key: item.value for item in onnx.load(str(tmp_path / "int8.onnx")).metadata_props}
    assert found == {"character": "a\n \n字", "author": "me"}


@pytest.mark.parametrize(
    ("metadata", "formats", "says"),
    [
        ({"a": "b"}, ("jit",), "only the format 'onnx' keeps metadata"),
        ({"a": 3}, ("onnx",), "metadata 'a' must be a text or a list of texts, got 3"),
        ({"a": ["b\nc"]}, ("onnx",), "has a line break"),
        ({3: "a"}, ("onnx",), "metadata must be a dict of texts by name"),
        ("character", ("onnx",), "metadata must be a dict"),
    ],
)
def test_metadata_that_cannot_be_kept(program: Path, tmp_path: Path, metadata: Any, formats: tuple[str, ...], says: str) -> None:
    result = ptq.quantize_model(program, BATCHES[:1], absmax())
    with pytest.raises(ConfigError, match=says):
        result.save(tmp_path / "out" / "int8", formats, metadata=metadata)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ((3, BATCHES), {}, ConfigError, "model must be a paddle.nn.Layer or the path of a saved program, got 3"),
        (("nowhere/net", BATCHES), {}, ProgramError, "there is no saved program nowhere/net.json"),
        ((None, BATCHES, 3), {}, ConfigError, "config must be a PTQConfig, got 3"),
        ((None, BATCHES), {"placement": "everywhere"}, ConfigError, "placement must be one of compute, full"),
        ((None, []), {}, NoCalibrationDataError, "yields no batch"),
        ((None, BATCHES[0]), {}, ConfigError, "put a single batch into a list"),
        ((None, {"pic": BATCHES[0]}), {}, ConfigError, "put a single batch into a list"),
        ((None, 5), {}, ConfigError, "data must be an iterable of batches, got int"),
        ((None, ["text"]), {}, CalibrationError, "batch 0 is of type str"),
        ((None, [BATCHES[0][:0]]), {}, CalibrationError, r"batch 0 \(float32 \[0, 3, 12, 12\]\) is empty"),
        ((None, [data(4, 2, 12, 12)]), {}, CalibrationError, r"batch 0 \(float32 \[4, 2, 12, 12\]\): layer 'conv1' raises"),
        ((None, BATCHES), {"max_batches": 0}, ConfigError, "max_batches"),
        ((None, BATCHES), {"input_fn": 3}, ConfigError, "input_fn"),
    ],
)
def test_misuse(arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], says: str) -> None:
    net = PictureNet()
    net.eval()
    model, *rest = arguments
    with pytest.raises(error, match=says) as raised:
        ptq.quantize_model(net if model is None else model, *rest, **options)
    assert type(raised.value) is error


def test_a_model_that_is_quantized_already() -> None:
    net = PictureNet()
    net.eval()
    result = ptq.quantize_model(net, BATCHES, absmax())
    with pytest.raises(ModelError, match="quantize the float model instead"):
        ptq.quantize_model(result.model, BATCHES)
