"""Bytes of parameters: as they are stored, and as a float model would hold them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import paddle
from paddle import nn

from ...registry import PTQRegistry
from .facts import Facts
from .record import FLOAT, INT8, Row

__all__ = ["Parameters"]

INTEGERS, GRIDS = "_quantized", ("_scale", "_zero_point")  # how the buffers of a twin are called
WIDTHS = {paddle.float16: 2, paddle.bfloat16: 2, paddle.float64: 8}


class Parameters:
    """The parameters and buffers of one model; each is counted where it is taken first.

    Of a model that is being calibrated the stored bytes are a forecast, without scales.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._left: dict[str, tuple[str, int, int]] = {}
        for path, layer in facts.layers.items():
            for name, tensor in (*layer._parameters.items(), *layer._buffers.items()):
                if tensor is not None:
                    self._left.setdefault(tensor.name, (path, *self._bytes(path, layer, name, tensor)))

    def take(self, names: Iterable[str]) -> tuple[int, int]:
        """Bytes, stored and in float, of those of the named tensors that were not taken before."""
        taken = [self._left.pop(name, ("", 0, 0)) for name in names]
        return sum(stored for _, stored, _ in taken), sum(as_float for _, _, as_float in taken)

    def unread(self) -> Iterator[Row]:
        """A row for every layer with parameters that nobody took."""
        layers: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for path, stored, as_float in self._left.values():
            layers[path][0] += stored
            layers[path][1] += as_float
        for path, (stored, as_float) in layers.items():
            state = INT8 if PTQRegistry.is_quantized_layer(self._facts.layers[path]) else FLOAT
            yield Row(path, "parameters", state, "no operation of the trace reads them", 0, stored, as_float)

    def _bytes(self, path: str, layer: nn.Layer, name: str, tensor: paddle.Tensor) -> tuple[int, int]:
        stored = int(tensor.size * tensor.element_size())
        if PTQRegistry.is_quantized_layer(layer):
            if name.endswith(INTEGERS):
                return stored, int(tensor.size * WIDTHS.get(layer._weight_dtype, 4))
            return stored, 0 if name.endswith(GRIDS) else stored
        bits = self._facts.weight_bits(path) if self._facts.has_weight(path) else None
        if bits is not None and name in PTQRegistry.layer_info(layer).weights_of(layer):
            return int(tensor.size) * (1 if bits <= 8 else 2), stored
        return stored, stored
