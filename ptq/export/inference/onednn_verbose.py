"""Which kernels Paddle Inference ran, from what oneDNN itself prints.

Run as ``python -m ptq.export.inference.onednn_verbose PREFIX INPUTS OUTPUTS`` with ``ONEDNN_VERBOSE=1``: answers once with the
exported model, and lists its compute operations.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from quantizers.errors import ArtifactError

from ...util.npz import load_arrays, save_arrays
from ..report import Kernel
from .layers import Layer, read_layers
from .predictor import open_predictor

__all__ = ["Primitive", "compute_primitives", "match", "run_verbose"]

COMPUTES = ("convolution", "deconvolution", "inner_product", "matmul")
INTEGERS = ("u8", "s8")


@dataclass(frozen=True)
class Primitive:
    """One execution of a oneDNN primitive: its kind, implementation, the dtypes of its two operands, and its shape as printed."""

    kind: str
    kernel: str
    source: str
    weight: str
    shape: str

    @property
    def is_int8(self) -> bool:
        """Whether both operands are 8-bit integers."""
        return self.source in INTEGERS and self.weight in INTEGERS

    def sizes(self) -> tuple[int, ...]:
        """What identifies the layer: groups, channels in and out, and window of a convolution; inner and outer size of a product."""
        if ":" in self.shape:  # a product: 2x8:8x10
            inner, outer = self.shape.split(":")[1].split("x")[-2:]
            return int(inner), int(outer)
        found = {name: int(number) for name, number in re.findall(r"([a-z]+)(\d+)", self.shape)}
        if self.kind == "inner_product":
            return found["ic"], found["oc"]
        return found.get("g", 1), found["ic"], found["oc"], *(found[name] for name in ("kd", "kh", "kw") if name in found)


def compute_primitives(lines: Iterable[str]) -> Iterator[Primitive]:
    """The convolutions and products among the lines that ``ONEDNN_VERBOSE=1`` prints."""
    for line in lines:
        fields = line.split(",")
        if not line.startswith("onednn_verbose") or "exec" not in fields:
            continue
        kind, kernel, _, memory, *_, shape = fields[fields.index("exec") + 2 : -1]
        if kind in COMPUTES:
            dtypes = dict(item.split(":")[0].split("_", 1) for item in memory.split() if ":" in item)
            yield Primitive(kind, kernel, dtypes.get("src", ""), dtypes.get("wei", ""), shape)


def run_verbose(prefix: str, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What ``prefix.infer.*`` answers; one execution."""
    predictor = open_predictor(prefix)
    for name, array in zip(predictor.get_input_names(), inputs, strict=True):
        predictor.get_input_handle(name).copy_from_cpu(array)
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def match(layers: Sequence[Layer], primitives: Iterable[Primitive]) -> list[Kernel]:
    """The kernel of each layer: oneDNN prints no names, so the next primitive of the layer's sizes is taken for its own."""
    waiting = list(primitives)
    return [_kernel(layer, _take(layer, waiting)) for layer in layers]


def _take(layer: Layer, waiting: list[Primitive]) -> Primitive | None:
    kinds = ("convolution", "deconvolution") if len(layer.sizes) > 2 else ("inner_product", "matmul") if layer.sizes else ("matmul",)
    for index, primitive in enumerate(waiting):
        if primitive.kind in kinds and (not layer.sizes or primitive.sizes() == layer.sizes):
            return waiting.pop(index)
    return None


def _kernel(layer: Layer, primitive: Primitive | None) -> Kernel:
    if primitive is None:
        reason = layer.lacks or "the engine merged it with others, or runs it without oneDNN"
        return Kernel(layer.name, layer.op, "not reported by oneDNN", False, reason)
    reason = "" if primitive.is_int8 else layer.lacks or "the engine chose a float kernel"
    return Kernel(layer.name, layer.op, f"{primitive.kind} {primitive.kernel}", primitive.is_int8, reason)


def _main(prefix: str, inputs: str, outputs: str) -> None:
    save_arrays(Path(outputs), run_verbose(prefix, load_arrays(Path(inputs))))
    layers = [asdict(layer) for layer in read_layers(Path(f"{prefix}.infer.pdmodel"))]
    Path(outputs).with_suffix(".json").write_text(json.dumps(layers), encoding="utf-8")


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except ArtifactError as error:
        sys.exit(f"ExportError: {error}")
