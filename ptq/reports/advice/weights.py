"""Rules on weights: widths and outliers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .advice import Advice, Evidence, Text, db, harm, layer_of, leave_float, override

__all__ = ["weight_bits", "weight_channels", "weight_outliers"]

POOR = 28.0
PER_TENSOR = ("AbsmaxQuantizer", "MSEQuantizer", "HistQuantizer", "MinMaxQuantizer")


def weight_bits(evidence: Evidence) -> Iterator[Advice]:
    """Few bits, and the layer's result shows it."""
    for layer in evidence.layers:
        weight = layer.weight
        if weight is None or weight.sqnr_db is None or weight.bits is None or weight.bits >= 8 or weight.sqnr_db >= POOR:
            continue
        if layer.input_db is not None and layer.input_db < weight.sqnr_db:
            continue
        yield Advice(
            "weight-bits",
            (layer.name,),
            harm(layer),
            Text(
                f"the weight has {weight.bits} bits, which cost {db(weight.sqnr_db)}",
                f"权重为 {weight.bits} 位，信噪比为 {db(weight.sqnr_db)}",
            ),
            Text("the weight is what this layer loses most by", "该层的损失主要来自权重"),
            Text("give this weight 8 bits", "该权重改用 8 位"),
            override(layer_of(layer.name), "weight_bits=8"),
        )


def weight_channels(evidence: Evidence) -> Iterator[Advice]:
    """One scale for output channels of very different ranges."""
    for layer in evidence.layers:
        weight = layer.weight
        if weight is None or weight.sqnr_db is None or weight.rule not in PER_TENSOR or len(weight.channel_db) < 2:
            continue
        worst = min(weight.channel_db)
        if worst >= POOR or _ratio(weight.low, weight.high) < 8:
            continue
        yield Advice(
            "weight-channels",
            (layer.name,),
            harm(layer),
            Text(
                f"the output channels' weights differ {_ratio(weight.low, weight.high):.0f}-fold in range, the worst costs {db(worst)}",
                f"各输出通道的权重范围相差 {_ratio(weight.low, weight.high):.0f} 倍，最差通道为 {db(worst)}",
            ),
            Text("one scale for the whole weight leaves small channels a few levels", "整个权重共用一个比例，小通道只剩少数量化级"),
            Text("give each output channel its own scale", "为每个输出通道使用各自的比例"),
            override(layer_of(layer.name), "weight_quantizer=PerChannelAbsmaxQuantizer()"),
        )


def weight_outliers(evidence: Evidence) -> Iterator[Advice]:
    """A layer with 8-bit weights and a scale for each channel, whose result loses much more than its input did."""
    for layer in evidence.layers:
        weight, alone, given = layer.weight, layer.alone_db, layer.input_db
        if weight is None or weight.sqnr_db is None or (weight.bits or 8) < 8 or weight.rule in PER_TENSOR:
            continue
        if alone is None or given is None or alone >= POOR or alone > given - 6:
            continue
        yield Advice(
            "weight-outliers",
            (layer.name,),
            harm(layer),
            Text(
                f"the input's rounding leaves {db(given)}, the result has {db(alone)} though every channel has its own scale",
                f"输入舍入后为 {db(given)}，而结果为 {db(alone)}，尽管每个通道都有自己的比例",
            ),
            Text("a few large weights of a channel leave the others few levels", "通道内少数大权重使其余权重只剩少数量化级"),
            Text("leave this layer float", "让该层保持浮点"),
            leave_float(layer_of(layer.name)),
        )


def _ratio(low: tuple[float, ...], high: tuple[float, ...]) -> float:
    reach = sorted(max(-a, b) for a, b in zip(low, high, strict=True))
    used = [value for value in reach if value > 0]
    return used[-1] / used[len(used) // 4] if used else math.nan
