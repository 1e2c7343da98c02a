"""What other tools make of a float ONNX file: ``python -m benchmarks.peers TOOL FLOAT DATA TARGET``, in a process without Paddle."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["NNCF", "ONNX_RUNTIME", "why_no_nncf"]

NNCF, ONNX_RUNTIME = "nncf", "onnxruntime"


def why_no_nncf() -> str:
    """Why NNCF cannot be measured; an empty string when it can."""
    return "" if importlib.util.find_spec("nncf") else "NNCF is not here (extra peers)"


def _nncf(floats: str, samples: list[np.ndarray], target: str) -> None:
    """Its default settings with the preset ``mixed``, which is the one for activations other than ReLU."""
    import nncf
    import openvino

    model = openvino.convert_model(floats)
    preset = nncf.QuantizationPreset.MIXED
    quantized = nncf.quantize(model, nncf.Dataset(samples), preset=preset, subset_size=len(samples))
    openvino.save_model(quantized, target, compress_to_fp16=False)


def _onnxruntime(floats: str, samples: list[np.ndarray], target: str) -> None:
    """As its documentation advises for CPUs with VNNI: preprocessed, QDQ, uint8 activations, int8 weights per channel."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            import onnx

            name = onnx.load(floats).graph.input[0].name
            self.feeds = iter([{name: sample} for sample in samples])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    prepared = f"{target}.prepared.onnx"
    quant_pre_process(floats, prepared, skip_symbolic_shape=True)
    kinds = {"activation_type": quantization.QuantType.QUInt8, "weight_type": quantization.QuantType.QInt8}
    quantization.quantize_static(prepared, target, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True, **kinds)
    Path(prepared).unlink()


def main(tool: str, floats: str, data: str, target: str) -> None:
    """The work of the process."""
    samples = list(np.load(data))
    {NNCF: _nncf, ONNX_RUNTIME: _onnxruntime}[tool](floats, [sample[None] for sample in samples], target)


if __name__ == "__main__":
    main(*sys.argv[1:])
