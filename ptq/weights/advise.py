"""`advise`: which method for a model, from its layers, operators and weights, with reasons; the long form is ``docs/choosing.md``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.weights.block_rules import absmax_grid, squared_errors

from ..layers.block_weight import matrix_rows
from ..layers.dynamic import CONVOLUTIONS, why_not_dynamic
from ..quantize_model.steps import Steps
from ..registry import PTQRegistry
from ..reports.coverage import coverage
from .weight_only import opened, spec_of

__all__ = ["Advice", "Suggestion", "advise"]

KINDS = ("Linear", "convolution", "depthwise convolution", "embedding", "recurrent", "other")
SMALL = 1 << 20
# Rows of a weight that are looked at.
ROWS = 256


@dataclass(frozen=True)
class Suggestion:
    """One way to go: what to call, for whom, and why."""

    call: str
    when: str
    reason: str


@dataclass(frozen=True)
class Advice:
    """What a model is made of, and what to do with it, best first.

    ``weights``: bytes of float weights by kind of layer; ``macs``: multiply-accumulates by kind, where it is known what the model takes;
    ``blocks``: how much smaller the error of 4 bits is in blocks of 32 than per channel, in dB, over all products.
    """

    model: str
    weights: dict[str, int]
    macs: dict[str, int]
    blocks: float
    suggestions: tuple[Suggestion, ...]

    def lines(self) -> list[str]:
        """The advice for people."""
        total, work = sum(self.weights.values()), sum(self.macs.values())
        parts = [f"{kind} {size / 1e6:.2f} MB ({size / total:.0%})" for kind, size in self.weights.items()] if total else ["none"]
        lines = [f"{self.model}: float weights: {', '.join(parts)}"]
        if work:
            lines.append(f"  multiply-accumulates: {', '.join(f'{kind} {count / work:.0%}' for kind, count in self.macs.items() if count)}")
        for number, item in enumerate(self.suggestions, 1):
            lines += [f"{number}. {item.when}: {item.call}", f"     {item.reason}"]
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


def advise(model: nn.Layer | str | os.PathLike[str], input_spec: Sequence[Any] | None = None) -> Advice:
    """Which method fits a model; nothing of it is changed, and nothing is quantized.

    Args:
        model: a float layer, or the path of a saved program.
        input_spec: what it takes, so that its operations can be counted too; that of the file for a saved program.

    Raises:
        ConfigError: ``model`` is neither; ``ProgramError``: the path is of no program that can be opened.
    """
    layer, source = opened(model, Steps(False))
    weights, found = dict.fromkeys(KINDS, 0), []
    for name, part in layer.named_sublayers(include_self=True):
        if not PTQRegistry.is_supported_layer(part):
            continue
        parameters = PTQRegistry.layer_info(part).weights_of(part)
        weights[_kind(part)] += sum(4 * int(parameter.size) for parameter in parameters.values())
        found += [(name, part)] * bool(parameters)
    weights = {kind: size for kind, size in weights.items() if size}
    macs = _macs(layer, input_spec or spec_of(layer), dict(found))
    blocks = _gain_of_blocks([part for _, part in found if isinstance(part, nn.Linear)])
    return Advice(source, weights, macs, blocks, tuple(_suggestions(weights, macs, blocks)))


def _kind(layer: nn.Layer) -> str:
    if isinstance(layer, nn.Linear):
        return "Linear"
    if isinstance(layer, nn.Embedding):
        return "embedding"
    if isinstance(layer, CONVOLUTIONS):
        return "depthwise convolution" if why_not_dynamic(layer) else "convolution"
    return "recurrent" if isinstance(layer, (nn.RNNCellBase, nn.LSTM, nn.GRU, nn.SimpleRNN)) else "other"


def _macs(model: nn.Layer, input_spec: Sequence[Any] | None, layers: Mapping[str, nn.Layer]) -> dict[str, int]:
    if input_spec is None:
        return {}
    counts = dict.fromkeys((*KINDS, "without weights"), 0)
    for row in coverage(model, input_spec).rows:
        layer = layers.get(row.site.split("@")[0])
        counts["without weights" if layer is None else _kind(layer)] += row.macs
    return counts if sum(counts.values()) else {}


def _gain_of_blocks(layers: Sequence[nn.Layer]) -> float:
    """From the first rows of each weight; 0 without Linear layers."""
    errors = np.zeros(2)
    with paddle.no_grad():
        for layer in layers:
            rows = matrix_rows(layer.weight.astype("float32").numpy(), 1)[:ROWS]
            if np.isfinite(rows).all():
                power = float(np.square(rows, dtype=np.float64).sum()) or 1.0
                errors += [squared_errors(rows, absmax_grid(rows, 4, size)).sum() / power for size in (None, 32)]
    return float(10 * np.log10(errors[0] / errors[1])) if errors.all() else 0.0


def _suggestions(weights: Mapping[str, int], macs: Mapping[str, int], blocks: float) -> list[Suggestion]:
    total = sum(weights.values())
    if not total:
        return [Suggestion("nothing", "as it is", "no layer of this model has float weights that can be quantized")]
    work = {kind: count for kind, count in macs.items() if kind != "without weights"} or weights
    share = {kind: work.get(kind, 0) / max(sum(work.values()), 1) for kind in KINDS}
    found = (
        _for_convolutions(share) if share["convolution"] + share["depthwise convolution"] > 0.5 else _for_products(weights, share, blocks)
    )
    if weights.get("embedding", 0) > 0.3 * total and share["Linear"] <= 0.5:
        found.insert(0, Suggestion("ptq.quantize_weights(model, layers=paddle.nn.Embedding)", "no data", _EMBEDDINGS))
    if total < SMALL:
        small = "its weights are below 1 MB: what a call costs beside them counts more; measure with python -m ptq bench before you deploy"
        found.append(Suggestion("leave it float, perhaps", "speed on a server", small))
    return found


_EMBEDDINGS = "most of the size are tables of which a call reads a few rows: 8 bits per row make them a quarter and cost next to nothing"


def _for_convolutions(share: Mapping[str, float]) -> list[Suggestion]:
    static = "convolutions are fast on integers between grids that are known beforehand: 1.6 to 3.4 times float on processors with VNNI"
    found = [Suggestion("ptq.quantize_model(model, data, placement='full')", "a few hundred samples at hand", static)]
    dynamic = "ConvInteger gains 1.2 times at best"
    if share["depthwise convolution"]:
        dynamic += "; depthwise convolutions would run at a third of float and slower, and stay float"
    weights = f"a quarter of the size without any data; {dynamic}, so that quantize_dynamic is worth its while for Linear layers only"
    found.append(Suggestion("ptq.quantize_weights(model)", "no data", weights))
    return found


def _for_products(weights: Mapping[str, int], share: Mapping[str, float], blocks: float) -> list[Suggestion]:
    found = []
    if share["recurrent"] > 0.5:
        recurrent = "its state from step to step is float in every runtime: weights alone become integers, at the speed of float"
        return [Suggestion("ptq.quantize_weights(model)", "no data", recurrent)]
    many = "activations vary from input to input: ranges that each call finds cost little, and products of integers are 2 to 4 times float"
    found.append(Suggestion("ptq.quantize_dynamic(model)", "no data, many tokens or samples in a call, ONNX Runtime", many))
    if share["convolution"] or share["depthwise convolution"]:
        found[0] = Suggestion(f"{found[0].call[:-1]}, layers=paddle.nn.Linear)", found[0].when, many)
    one = f"one token reads every weight: fewer bytes are more speed, 2.5 to 4 times float; blocks of 32 gain {blocks:.1f} dB over channels"
    tied = ", layers=paddle.nn.Linear" if weights.get("embedding") else ""
    four = f"ptq.quantize_weights(model, bits=4, group_size=32{tied}"
    found.append(Suggestion(f"{four}, algorithm='gptq', data=...)", "one token at a time, some inputs at hand", one))
    found.append(
        Suggestion(f"{four}, algorithm='mse')", "one token at a time, no data", "as above, with two to three times the loss of GPTQ")
    )
    eight = "nearly no loss, a quarter of the size; both runtimes take the file"
    found.append(Suggestion("ptq.quantize_weights(model)", "accuracy before all", eight))
    return found
