"""A quantized model in which rounding can be switched off layer by layer: weights and inputs apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ..layers import QuantizedLayer
from ..registry import PTQRegistry
from ..util.structural_copy import structural_copy
from .workbench import Workbench

__all__ = ["Switches"]


class Switches:
    """A structural copy of a workbench's model; the workbench is left alone.

    Attributes:
        model: the copy; what is switched off computes as the float model does.
        layers: names of the layers with weights, in the order of the model.
        grids: by layer, the names of the twins that round what it reads, itself or activation grids.
        others: activation grids that no layer reads.
    """

    def __init__(self, bench: Workbench) -> None:
        bench.settle()
        self._bench = bench
        self.model: nn.Layer = structural_copy(bench.model)
        copies = dict(self.model.named_sublayers(include_self=True))
        self._twins: dict[str, Any] = {name: copies[name] for name in bench.twins}
        self.layers = [name for name, twin in bench.twins.items() if isinstance(twin, QuantizedLayer)]
        rounds = {name for name, twin in bench.twins.items() if twin.input_qparams is not None}
        self.grids = {name: [grid for grid in bench.on_grids.get(name, [name]) if grid in rounds] for name in self.layers}
        read = {grid for grids in self.grids.values() for grid in grids}
        self.others = [name for name in bench.twins if name in rounds and name not in read]
        self._integers = {name: dict(self._twins[name]._buffers) for name in self.layers}
        self._floats = {name: self._float_weights(name) for name in self.layers}

    def _float_weights(self, name: str) -> dict[str, paddle.Tensor]:
        """What takes the place of integers: the float weight in steps of the grid."""
        layer, twin = self._bench.layers[name], self._bench.twins[name]
        found = {}
        for weight, parameter in PTQRegistry.layer_info(layer).weights_of(layer).items():
            wanted = parameter.astype("float32").numpy().astype(np.float64) * twin.weight_factors
            scale = twin._buffers[f"{weight}_scale"].numpy().astype(np.float64)
            found[f"{weight}_quantized"] = paddle.to_tensor((wanted / scale).astype(np.float32))
        return found

    def switch(self, weights: Collection[str], inputs: Collection[str]) -> None:
        """Switches rounding on for the weights of these layers and for the grids of these twins, and off for all others."""
        for name in self.layers:
            twin = self._twins[name]
            for buffer, value in (self._integers[name] if name in weights else self._floats[name]).items():
                if buffer.endswith("_quantized"):
                    twin._buffers[buffer] = value
            if name in self._bench.biases:
                self._set_bias(twin, name, name in weights)
        for name, twin in self._twins.items():
            vars(twin).pop("quantize_input", None)
            if twin.input_qparams is not None and name not in inputs:
                vars(twin)["quantize_input"] = _unrounded(twin)

    def _set_bias(self, twin: Any, name: str, is_on: bool) -> None:
        values = self._bench.biases[name] if is_on else self._bench.float_bias(name)
        twin.set_bias(values)

    def all_inputs(self) -> set[str]:
        """Every grid."""
        return {name for name, twin in self._twins.items() if twin.input_qparams is not None}

    def score(self, weights: Collection[str], inputs: Collection[str], judge: Callable[[nn.Layer], float]) -> float:
        """What a judge says of the model with these switched on."""
        self.switch(weights, inputs)
        return judge(self.model)

    @contextmanager
    def with_integers(self, name: str, integers: paddle.Tensor, scale: paddle.Tensor) -> Iterator[None]:
        """While entered, other integers and another scale take the place of a layer's ``weight``, switched on or off."""
        twin = self._twins[name]
        before = twin._buffers["weight_quantized"], twin._buffers["weight_scale"]
        twin._buffers["weight_quantized"], twin._buffers["weight_scale"] = integers, scale
        try:
            yield
        finally:
            twin._buffers["weight_quantized"], twin._buffers["weight_scale"] = before


def _unrounded(twin: Any) -> Callable[[paddle.Tensor], paddle.Tensor]:
    return lambda x: twin.before_rounding(x)
