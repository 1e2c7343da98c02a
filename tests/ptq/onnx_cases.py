"""A small net as ONNX files, and a runtime that is not `OnnxRuntime`, for tests of the check of such files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import paddle
from cpus import WEIGHT_BITS
from models import converted, data
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from paddle.static import InputSpec

from ptq import PTQConfig
from ptq.export.onnx.write import parameter_names, write_onnx
from ptq.runtimes.onnxruntime import OnnxRuntime
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer

__all__ = ["Other", "Written"]


class Other:
    """A runtime that is not `OnnxRuntime`, and computes as it does."""

    name = "Other Runtime"

    def __init__(self) -> None:
        self.real = OnnxRuntime(exact=True)

    def run(self, model: bytes, inputs: Any, plain: bool = False) -> dict[str, np.ndarray]:
        return self.real.run(model, inputs, plain)

    def executed(self, model: bytes, inputs: Any, nodes: Any) -> Any:
        return self.real.executed(model, inputs, nodes)


class Three(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2D(4, 4, 3, padding=1) for _ in range(3))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.relu(self.c(F.relu(self.b(F.relu(self.a(x))))))


class Written:
    """A net of three convolutions, its two ONNX files, and what it answers."""

    def __init__(self, folder: Path, weight_bits: int = WEIGHT_BITS) -> None:
        paddle.seed(0)
        config = PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(weight_bits), placement="full")
        model = converted(Three(), data(4, 4, 8, 8), config=config)
        paddle.jit.save(model, str(folder / "net"), input_spec=[InputSpec([None, 4, 8, 8], "float32")])
        self.file, self.simulated = folder / "net.onnx", folder / "simulated.onnx"
        write_onnx(folder / "net", self.file, self.simulated, parameter_names(model))
        x = data(3, 4, 8, 8, seed=1)
        self.inputs, self.expected = [x.numpy()], [model(x).numpy()]

    def changed(self, folder: Path, change: Any) -> Path:
        """A copy of the file in which ``change`` was applied to the stored arrays of that name ending."""
        model = onnx.load(str(self.file))
        for item in model.graph.initializer:
            array = change(item.name, onnx.numpy_helper.to_array(item))
            item.CopyFrom(onnx.numpy_helper.from_array(array, item.name))
        onnx.save(model, str(folder / "changed.onnx"))
        return folder / "changed.onnx"
