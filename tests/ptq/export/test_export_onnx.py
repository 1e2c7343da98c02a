"""`export_onnx`: the file that ONNX Runtime executes, against the model in memory."""

from __future__ import annotations

import builtins
import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from cpus import WEIGHT_BITS
from models import absmax, converted, data
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from paddle.static import InputSpec

from ptq import PTQConfig
from ptq.export.onnx.export import OnnxReport, export_onnx
from ptq.runtimes.cpu import this_cpu
from ptq.runtimes.onnxruntime import open_session
from ptq.util.extras import MissingExtraError
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import ArtifactError, ConfigError, ExportError, MismatchError

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")

IMAGE = InputSpec([None, 3, 12, 12], "float32")


class Net(nn.Layer):
    """Convolutions, a functional addition, pools and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2D(3, 8, 3, padding=1)
        self.branch = nn.Sequential(nn.Conv2D(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2D(8, 8, 1))
        self.head = nn.Linear(8, 5)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 2)
        x = F.relu(x + self.branch(x))
        return self.head(x.mean([2, 3]))


class Upsampling(nn.Layer):
    """What the converter is known to trip over: float64 scales of an interpolation, and an adaptive pool of uneven windows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3)
        self.up = nn.Conv2DTranspose(4, 4, 2, stride=2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = F.interpolate(F.hardswish(self.conv(x)), scale_factor=2, mode="nearest")
        return F.adaptive_avg_pool2d(self.up(x), 7)


class Attention(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0), 2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.encoder(x)


def full() -> PTQConfig:
    return PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(WEIGHT_BITS), placement="full")


def ask(path: str | Path, x: np.ndarray) -> np.ndarray:
    session = open_session(str(path), exact=this_cpu().saturates)  # as docs/deployment.md tells users
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def decibels(expected: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(np.square(expected).sum() / max(np.square(expected - other).sum(), 1e-30)))


def node_names(path: str | Path, op_type: str) -> list[str]:
    return [node.name for node in onnx.load(str(path)).graph.node if node.op_type == op_type]


@pytest.fixture(scope="module")
def net() -> nn.Layer:
    paddle.seed(0)
    return converted(Net(), data(4, 3, 12, 12), config=full())


@pytest.fixture(scope="module")
def exported(net: nn.Layer, tmp_path_factory: pytest.TempPathFactory) -> OnnxReport:
    return export_onnx(net, tmp_path_factory.mktemp("onnx") / "net", [IMAGE])


def test_answers_are_the_models(net: nn.Layer, exported: OnnxReport) -> None:
    for batch in (1, 5):
        x = data(batch, 3, 12, 12, seed=batch)
        assert decibels(net(x).numpy(), ask(exported.path, x.numpy())) > 35


def test_the_report_is_what_the_runtime_says(exported: OnnxReport) -> None:
    report = exported.runtimes[0]
    assert report.runtime == "ONNX Runtime"
    assert report.sqnr_db > 35
    assert {kernel.name: kernel.kernel for kernel in report.kernels} == {
        "stem": "QLinearConv",
        "branch.0": "QLinearConv",
        "branch.2": "QLinearConv",
        "head": "QGemm",
    }
    assert report.int8_share == 1
    assert exported.bytes == os.path.getsize(exported.path)
    assert "int8 3/3 Conv, 1/1 Gemm" in "\n".join(exported.lines())


def test_no_float_kernel_is_between(exported: OnnxReport, tmp_path: Path) -> None:
    options = runtime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    runtime.InferenceSession(exported.path, options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}
    assert not kinds & {"Conv", "FusedConv", "Gemm", "MatMul", "Add", "Relu", "ReduceMean", "GlobalAveragePool"}


def test_the_file_is_valid_and_small(exported: OnnxReport) -> None:
    assert exported.path.endswith("net.onnx")
    assert sorted(os.listdir(os.path.dirname(exported.path))) == ["net.onnx"]
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    floats = [item for item in model.graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    assert max(np.prod(item.dims) for item in floats) <= 8


def test_grids_are_named_after_their_places(exported: OnnxReport) -> None:
    names = node_names(exported.path, "QuantizeLinear")
    assert len(set(names)) == len(names)
    assert any(name.startswith("branch.2") for name in names)


def test_values_lie_on_their_grids(exported: OnnxReport) -> None:
    model = onnx.load(exported.path)
    logits = ask(exported.path, data(2, 3, 12, 12, seed=9).numpy())
    producer = next(node for node in model.graph.node if model.graph.output[0].name in node.output)
    assert producer.op_type == "DequantizeLinear"
    scale = next(onnx.numpy_helper.to_array(item) for item in model.graph.initializer if item.name == producer.input[1])
    np.testing.assert_allclose(logits / scale, np.rint(logits / scale), atol=1e-3)


def test_compute_placement_says_what_stays_float(tmp_path: Path) -> None:
    model = converted(Net(), data(4, 3, 12, 12), config=absmax(weight_bits=WEIGHT_BITS))
    report = export_onnx(model, tmp_path / "net.onnx").runtimes[0]
    x = data(3, 3, 12, 12, seed=3)
    assert decibels(model(x).numpy(), ask(tmp_path / "net.onnx", x.numpy())) > 35
    reasons = {kernel.name: kernel.reason for kernel in report.kernels}
    assert reasons["head"] == ""
    assert "see placement and target" in reasons["branch.2"]
    assert "float layers take" in "\n".join(report.lines())


def test_other_widths_stay_float(tmp_path: Path) -> None:
    model = converted(Net(), data(4, 3, 12, 12), config=absmax(bits=12))
    report = export_onnx(model, tmp_path / "net.onnx").runtimes[0]
    assert report.int8_share == 0
    assert {kernel.reason for kernel in report.kernels} == {"its weight is not stored as int8"}
    x = data(3, 3, 12, 12, seed=3)
    assert decibels(model(x).numpy(), ask(tmp_path / "net.onnx", x.numpy())) > 50


def test_what_the_converter_writes_wrong_is_repaired(tmp_path: Path) -> None:
    model = converted(Upsampling(), data(4, 3, 11, 11), config=full())
    export_onnx(model, tmp_path / "net.onnx")
    x = data(2, 3, 11, 11, seed=1)
    assert decibels(model(x).numpy(), ask(tmp_path / "net.onnx", x.numpy())) > 35


def test_transformer(tmp_path: Path) -> None:
    model = converted(Attention(), data(4, 6, 16), config=absmax(weight_bits=WEIGHT_BITS))
    report = export_onnx(model, tmp_path / "net.onnx").runtimes[0]
    assert sum(kernel.is_int8 for kernel in report.kernels) == 12
    assert {kernel.reason for kernel in report.kernels if not kernel.is_int8} == {"both of its inputs are activations"}
    x = data(2, 6, 16, seed=1)
    assert decibels(model(x).numpy(), ask(tmp_path / "net.onnx", x.numpy())) > 35


def test_an_operation_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    class Odd(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return paddle.erfinv(F.tanh(self.linear(x)))

    model = converted(Odd(), data(8, 4))
    with pytest.raises(ExportError, match="erfinv"):
        export_onnx(model, tmp_path / "odd")
    assert not list(tmp_path.iterdir())


def test_a_file_that_fails_its_check_replaces_nothing(net: nn.Layer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_text("older")

    def fail(*_: Any, **__: Any) -> None:
        raise MismatchError("no")

    monkeypatch.setattr("ptq.export.onnx.export.check_onnx", fail)
    with pytest.raises(MismatchError):
        export_onnx(net, tmp_path / "net.onnx", [IMAGE])
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("net.onnx", "older")]


@pytest.mark.parametrize("path", ["", 3, None])
def test_bad_path(net: nn.Layer, path: Any) -> None:
    with pytest.raises(ConfigError, match="path"):
        export_onnx(net, path, [IMAGE])


def test_a_folder_is_no_file(net: nn.Layer, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(ArtifactError, match="folder"):
        export_onnx(net, tmp_path / "net", [IMAGE])


@pytest.mark.parametrize("module", ["paddle2onnx", "onnx", "onnxruntime"])
def test_a_missing_extra_is_named(net: nn.Layer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    real = importlib.import_module

    def import_module(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real(name, *args)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(MissingExtraError, match=r"paddle-ptq\[onnx\]"):
        export_onnx(net, tmp_path / "net", [IMAGE])
    assert not list(tmp_path.iterdir())
    assert builtins.__import__("onnx")
