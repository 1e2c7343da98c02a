"""A small model saved in every format with its float baseline, as a user does it; the real runtimes have checked the files."""

from __future__ import annotations

from pathlib import Path

from models import data, small_net
from paddle import nn

from ptq import ImperativePTQ, PTQConfig
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer

__all__ = ["FORMATS", "IMAGE", "save_pair"]

FORMATS = ("jit", "onnx", "inference")
IMAGE = (3, 8, 8)


def save_pair(path: Path) -> tuple[nn.Layer, nn.Layer]:
    """Writes ``path`` and its baseline; the float model, and the converted one.

    With 7 bits for weights a sum of two products fits into 16 bits, so that the kernels of processors without VNNI are right too.
    """
    float_model = small_net()
    engine = ImperativePTQ(PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(7), placement="full"))
    prepared = engine.quantize(float_model, fuse=True)
    for seed in range(2):
        prepared(data(4, *IMAGE, seed=seed))
    return float_model, engine.save_quantized_model(prepared, str(path), formats=FORMATS, float_baseline=True, verbose=False)
