"""Real trained nets with placement ``full``: what each artifact answers in its own runtime on the dev part.

On processors without VNNI weights have 7 bits: with 8 the kernels saturate there, which is the processor's and not the artifact's.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from cpus import WEIGHT_BITS
from paddle import nn

from benchmarks.metrics import softmax, sqnr, top1
from benchmarks.real_nets import NETS, RealNet, batches, outputs, why_absent
from ptq import ImperativePTQ, PTQConfig
from ptq.export import create_int8_predictor
from ptq.layers.gridded import grids_of
from quantizers import PerChannelAbsmaxQuantizer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_absent()), reason=why_absent() or "present")]


@functools.cache
def _converted(name: str, weight_bits: int) -> tuple[RealNet, nn.Layer]:
    """The net and its converted model; default settings but for the bits of weights, placement ``full``."""
    net = NETS[name]()
    weights = {} if weight_bits == 8 else {"weight_quantizer": PerChannelAbsmaxQuantizer(weight_bits)}
    engine = ImperativePTQ(PTQConfig(placement="full", **weights))
    model = engine.quantize(net.model, fuse=True)
    with paddle.no_grad():
        for batch in batches(net.calibration, net.batch):
            model(batch)
    return net, engine.convert(model)


@functools.cache
def _saved(name: str, folder: Path) -> tuple[RealNet, nn.Layer, Path]:
    """The net, its converted model, and the prefix that it is saved under in all formats."""
    (net, model), engine = _converted(name, WEIGHT_BITS), ImperativePTQ()
    prefix = folder / name / "m"
    engine.save_quantized_model(model, str(prefix), formats=("jit", "onnx", "inference"))
    return net, model, prefix


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


def _onnxruntime(prefix: Path) -> Any:
    session = pytest.importorskip("onnxruntime").InferenceSession(f"{prefix}.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def _openvino(prefix: Path) -> Any:
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().compile_model(f"{prefix}.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: model(x)[0]


def _paddle_inference(prefix: Path) -> Any:
    predictor = create_int8_predictor(prefix)
    return lambda x: predictor.run([paddle.to_tensor(x)])[0].numpy()


RUNTIMES = {"ONNX Runtime": _onnxruntime, "OpenVINO": _openvino, "Paddle Inference": _paddle_inference}


def _answers(answer: Any, x: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([answer(np.ascontiguousarray(x[start : start + size])) for start in range(0, len(x), size)])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_resnet20_in_each_runtime(runtime: str, folder: Path) -> None:
    net, model, prefix = _saved("resnet20", folder)
    simulated = outputs(model, net.dev)
    answers = _answers(RUNTIMES[runtime](prefix), net.dev, 50)
    distance = sqnr(simulated, answers)
    print(f"\n{runtime}: {distance:.1f} dB against the simulated model, top-1 {top1(answers, net.labels):.2f} %")
    assert abs(top1(answers, net.labels) - top1(simulated, net.labels)) <= 0.1
    assert distance >= 35


def test_resnet20_in_memory() -> None:
    net, model = _converted("resnet20", 8)
    expected, answers = outputs(net.model, net.dev), outputs(model, net.dev)
    print(f"\nResNet-20, full: {sqnr(expected, answers):.2f} dB, top-1 {top1(answers, net.labels):.2f} %, {len(grids_of(model))} grids")
    assert len(grids_of(model)) == 31
    assert sqnr(expected, answers) >= 30.5


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_visual_wake_words_in_each_runtime(runtime: str, folder: Path) -> None:
    net, model, prefix = _saved("mobilenet_vww", folder)
    simulated, answers = outputs(model, net.dev), _answers(RUNTIMES[runtime](prefix), net.dev, 50)
    print(f"\n{runtime}: logits {sqnr(simulated, answers):.1f} dB against the simulated model")
    assert sqnr(simulated, answers) >= 35
    assert np.isfinite(softmax(answers)).all()


@pytest.mark.parametrize("runtime", ["ONNX Runtime", "OpenVINO"])
@pytest.mark.parametrize("name", ["ppocr_det", "ppocr_cls"])
def test_text_nets_are_as_near_to_float_as_the_simulated_model(name: str, runtime: str, folder: Path) -> None:
    net, model, prefix = _saved(name, folder)
    expected, simulated = outputs(net.model, net.dev, 10), outputs(model, net.dev, 10)
    answers = _answers(RUNTIMES[runtime](prefix), net.dev, 1)
    found, reference = sqnr(expected, answers), sqnr(expected, simulated)
    print(f"\n{name}, {runtime}: {found:.2f} dB against float, simulated {reference:.2f} dB")
    assert found >= reference - 1
