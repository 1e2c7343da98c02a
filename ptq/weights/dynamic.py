"""`quantize_dynamic`: int8 weights, and a grid for each input that is found while the model runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

from ..layers import QuantizedLayer
from ..layers.dynamic import DYNAMIC
from ..passes.freeze_weights import freeze_weights
from ..quantize_model.steps import Steps
from ..reports.check import check
from .result import WeightsResult, result_of
from .select import Layers, layers_to_quantize
from .settings import WeightSettings
from .swap import with_twins, working_copy
from .weight_only import opened, spec_of, twin_of

__all__ = ["quantize_dynamic"]


def quantize_dynamic(
    model: nn.Layer | str | os.PathLike[str],
    *,
    weight_bits: int = 8,
    granularity: str = "tensor",
    layers: Layers = None,
    per_channel: bool = True,
    input_spec: Sequence[Any] | None = None,
    fuse: bool = True,
    keep_float: bool = False,
    progress: bool = True,
) -> WeightsResult:
    """Int8 weights, and products of integers: each call finds the grid of a layer's input from what is in it.  No data is needed.

    The model in memory answers as ONNX Runtime does with the ONNX file.  Linear and dense convolutions become dynamic; embeddings,
    recurrent layers, transposed, grouped and depthwise convolutions get int8 weights only, and the coverage says why.

    With ``granularity="tensor"`` an answer depends on what else is in the batch, for it has a part in the grid; with ``"row"`` it does not.

    Args:
        model: a layer in dynamic mode, or what `load_program` opens: prefix, file or folder of a saved program.
        weight_bits: 2 to 8; stored in whole bytes.
        granularity: ``"tensor"``: one grid for an input, as `DynamicQuantizeLinear` has; ``"row"``: one for each vector along the last
            axis, for Linear layers, a little slower; convolutions have one for the tensor.
        layers: what to quantize, see `quantize_weights`; ``None``: all that can.
        per_channel: ``False``: one scale for a whole weight.
        input_spec: what the model takes, to save it; that of the file for a saved program.
        fuse: fold batch norms where ``input_spec`` is known; the result is then in eval mode.
        keep_float: keep the float layers for ``float_baseline`` until the result is saved.
        progress: show progress on stderr where that is a terminal.

    Raises:
        As `quantize_weights`.
    """
    settings = WeightSettings(weight_bits, per_channel=per_channel, algorithm="absmax", symmetric=True)
    if weight_bits > 8:
        raise ConfigError(f"weight_bits of dynamic layers must be 2 to 8, got {weight_bits}")
    if granularity not in DYNAMIC:
        raise ConfigError(f"granularity must be one of {', '.join(DYNAMIC)}, got {granularity!r}")
    steps = Steps(progress)
    model, source = opened(model, steps)
    chosen = layers_to_quantize(model, layers)
    with steps("check"):
        findings = check(model)
    specs = input_spec or spec_of(model)
    working = working_copy(model, specs, fuse)
    float_layers = {name: layer for name, layer in working.named_sublayers(include_self=True) if name in chosen}
    freeze_weights(float_layers.values())
    with steps("quantize"):
        twins = {name: _twin(name, layer, settings, granularity) for name, layer in float_layers.items()}
    converted = with_twins(working, twins, keep_float=keep_float)
    what = f"dynamic, a grid per {granularity}; weights {weight_bits} bits"
    return result_of(converted, source, what, findings, specs, steps.seconds)


def _twin(name: str, layer: nn.Layer, settings: WeightSettings, granularity: str) -> QuantizedLayer:
    twin = twin_of(name, layer, settings, whole_bytes=True)
    twin.set_dynamic_unless_slow(layer, granularity)
    return twin
