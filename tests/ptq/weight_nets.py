"""Small nets for the tests of `ptq.weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn
from paddle.static import InputSpec

from ptq.export.jit.program import write_jit
from ptq.export.onnx.write import parameter_names, write_onnx

__all__ = ["Perceptron", "TiedModel", "answer", "ids", "in_float", "initializers", "numbers", "operators", "written"]


def numbers(*shape: int, seed: int = 0) -> paddle.Tensor:
    """Normal numbers."""
    return paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype("float32"))


def ids(*shape: int, high: int = 20, seed: int = 0) -> paddle.Tensor:
    """Token ids."""
    return paddle.to_tensor(np.random.default_rng(seed).integers(0, high, shape), dtype="int64")


class Perceptron(nn.Layer):
    """Two Linear layers; the first reads a number of features that no block divides."""

    def __init__(self, features: int = 40, hidden: int = 48, answers: int = 6, **options: Any) -> None:
        super().__init__()
        paddle.seed(0)
        self.first, self.second = nn.Linear(features, hidden), nn.Linear(hidden, answers, **options)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.second(F.gelu(self.first(x)))


class TiedModel(nn.Layer):
    """A language model in small: the output's weight is the embedding's."""

    def __init__(self, words: int = 20, width: int = 32) -> None:
        super().__init__()
        paddle.seed(0)
        self.tok, self.fc = nn.Embedding(words, width), nn.Linear(width, width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.matmul(F.relu(self.fc(self.tok(x))), self.tok.weight, transpose_y=True)


def written(model: nn.Layer, spec: InputSpec, folder: Path) -> Any:
    """The ONNX model that a quantized model becomes."""
    write_jit(model, str(folder / "m"), [spec])
    write_onnx(folder / "m", folder / "m.onnx", folder / "s.onnx", parameter_names(model))
    import onnx

    return onnx.load(str(folder / "m.onnx"))


def answer(model: Any, x: paddle.Tensor) -> np.ndarray:
    """What ONNX Runtime answers."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def operators(model: Any) -> list[str]:
    """Types of the nodes."""
    return [node.op_type for node in model.graph.node]


def in_float(model: Any) -> Any:
    """The file with sums in float, which tell what the integers stand for."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 0
    return model


def initializers(model: Any) -> dict[str, np.ndarray]:
    """What the file stores."""
    import onnx

    return {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
