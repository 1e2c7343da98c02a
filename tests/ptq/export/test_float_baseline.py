"""`float_baseline=True`: what every ratio is measured against is the whole float model, batch norms folded, and nothing quantized."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from fresh import answers_of
from models import calibrated, data, relative, small_net
from paddle import inference, nn
from saved_pair import IMAGE, save_pair

import ptq
from ptq import ImperativePTQ
from ptq.export.baseline import baseline_path
from ptq.layers import QuantizedLayer
from quantizers.errors import ModelError

PARAMETERS = (8 * 3 * 9 + 8) + (8 * 8 * 9 + 8) + (8 * 5 + 5)  # two convolutions that have taken in their batch norms, one Linear

Saved = tuple[Path, nn.Layer, nn.Layer]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The prefix, the float model and the converted one; tests only read them."""
    paddle.seed(0)
    pytest.importorskip("paddle2onnx")
    path = tmp_path_factory.mktemp("saved") / "net"
    return path, *save_pair(path)


def test_it_has_the_same_files(saved: Saved) -> None:
    names = sorted(file.name for file in saved[0].parent.iterdir() if file.name.startswith("float_net"))
    ours = sorted(file.name for file in saved[0].parent.iterdir() if file.name.startswith("net."))
    assert names == [f"float_{name}" for name in ours if name != "net.ptq.coverage.json"]


def test_its_manifest_says_that_nothing_is_quantized(saved: Saved) -> None:
    manifest = json.loads(Path(f"{baseline_path(saved[0])}.ptq.json").read_text(encoding="utf-8"))
    assert manifest["quantized_layers"] == 0
    assert manifest["inputs"] == [{"shape": [-1, *IMAGE], "dtype": "paddle.float32"}]
    assert not [kernel for runtime in manifest["runtimes"] for kernel in runtime["kernels"] if kernel["is_int8"]]


def test_plain_paddle_answers_as_the_float_model(saved: Saved, tmp_path: Path) -> None:
    """In a fresh process, on another batch size, as near as folding allows; the quantized model is much farther."""
    path, float_model, quantized = saved
    x = data(3, *IMAGE, seed=7)
    expected = float_model(x)
    assert relative(answers_of(Path(baseline_path(path)), x, tmp_path), expected) <= 1e-5
    assert relative(quantized(x), expected) > 1e-3


def test_it_stores_float_parameters_and_no_batch_norm(saved: Saved) -> None:
    loaded = paddle.jit.load(baseline_path(saved[0]))
    tensors = {tensor.numpy().tobytes(): tensor for tensor in loaded.state_dict().values()}  # each is there under two names
    assert {tensor.dtype for tensor in tensors.values()} == {paddle.float32}
    assert sum(tensor.size for tensor in tensors.values()) == PARAMETERS


def test_onnx_holds_no_grid_and_no_batch_norm(saved: Saved) -> None:
    onnx = pytest.importorskip("onnx")
    nodes = {path: {node.op_type for node in onnx.load(f"{path}.onnx").graph.node} for path in (str(saved[0]), baseline_path(saved[0]))}
    assert {"QuantizeLinear", "DequantizeLinear"} <= nodes[str(saved[0])]
    assert not nodes[baseline_path(saved[0])] & {"QuantizeLinear", "DequantizeLinear", "Round", "BatchNormalization"}
    assert "Conv" in nodes[baseline_path(saved[0])]


def _onnxruntime(prefix: str, x: np.ndarray) -> np.ndarray:
    session = pytest.importorskip("onnxruntime").InferenceSession(f"{prefix}.onnx", providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def _openvino(prefix: str, x: np.ndarray) -> np.ndarray:
    compiled = pytest.importorskip("openvino").Core().compile_model(f"{prefix}.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled(x)[0])


def _paddle_inference(prefix: str, x: np.ndarray) -> np.ndarray:
    config = inference.Config(f"{prefix}.infer.pdmodel", f"{prefix}.infer.pdiparams")
    config.disable_glog_info()
    config.enable_mkldnn()
    predictor = inference.create_predictor(config)
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(x)
    predictor.run()
    return np.asarray(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())


@pytest.mark.parametrize("answer", [_onnxruntime, _openvino, _paddle_inference])
def test_every_runtime_answers_as_the_float_model(answer: Any, saved: Saved) -> None:
    path, float_model, _ = saved
    x = data(3, *IMAGE, seed=7)
    assert relative(paddle.to_tensor(answer(baseline_path(path), x.numpy())), float_model(x)) <= 1e-4


def test_the_model_in_memory_stays_quantized(saved: Saved) -> None:
    path, _, quantized = saved
    assert sum(isinstance(layer, QuantizedLayer) for layer in quantized.sublayers()) == 3
    x = data(3, *IMAGE, seed=7)
    np.testing.assert_array_equal(ptq.load(path)(x).numpy(), quantized(x).numpy())


def test_it_has_no_format_that_was_not_asked_for(tmp_path: Path) -> None:
    model = calibrated(small_net(), data(4, *IMAGE), fuse=True)
    ImperativePTQ().save_quantized_model(model, str(tmp_path / "net"), float_baseline=True, verbose=False)
    suffixes = {file.name.partition(".")[2] for file in tmp_path.glob("float_net.*")}
    assert suffixes == {"json", "pdiparams", "ptq.json"}


def test_a_copy_whose_float_layers_are_unknown_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    model = ImperativePTQ().convert(calibrated(small_net(), data(4, *IMAGE), fuse=True))
    ptq.release(model)
    with pytest.raises(ModelError, match="float layers"):
        ImperativePTQ().save_quantized_model(model, str(tmp_path / "net"), float_baseline=True)
    assert list(tmp_path.iterdir()) == []
