"""Rules on what layers read: ranges that outliers stretch, ranges that cut, data that calibration did not see."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..accuracy import LayerRecord, TensorRecord
from .advice import Advice, Evidence, Text, db, harm, layer_of, leave_float, override

__all__ = ["calibration_narrow", "channels_uneven", "clipped_by_rule", "range_outliers", "unused_negatives"]

POOR = 30.0
# Rules whose range holds all that they saw: what lies outside was not in the calibration data.
HOLDS_ALL = ("AbsmaxQuantizer", "MinMaxQuantizer")
CLIPS_BY_ERROR = ("MSEQuantizer", "EMDQuantizer", "HistQuantizer", "AutoQuantizer")


def _inputs(evidence: Evidence) -> Iterator[tuple[LayerRecord, TensorRecord, float]]:
    """Layers whose input is rounded to one grid for all channels, with the SQNR of that."""
    for layer in evidence.layers:
        tensor = layer.input
        if tensor is not None and tensor.sqnr_db is not None and tensor.step is not None:
            yield layer, tensor, tensor.sqnr_db


def _reach(tensor: TensorRecord) -> float:
    """The largest magnitude of the grid."""
    return max(abs(tensor.grid_low or 0.0), abs(tensor.grid_high or 0.0))


def range_outliers(evidence: Evidence) -> Iterator[Advice]:
    """A few values stretch the grid: 99.9 % of them lie within a quarter of it."""
    for layer, tensor, found in _inputs(evidence):
        bulk = tensor.tail * max(abs(tensor.low), abs(tensor.high))
        if found >= POOR or tensor.rule in CLIPS_BY_ERROR or bulk * 4 > _reach(tensor):
            continue
        yield Advice(
            "range-outliers",
            (layer.name,),
            harm(layer),
            Text(
                f"99.9 % of the input lie within ±{bulk:.3g}, the grid reaches to {_reach(tensor):.3g}; rounding it costs {db(found)}",
                f"输入有 99.9 % 的值在 ±{bulk:.3g} 以内，而网格延伸到 {_reach(tensor):.3g}；舍入后信噪比为 {db(found)}",
            ),
            Text("a few outliers take most of the levels away from all other values", "少数离群值占用了大部分量化级"),
            Text("choose the range by the error that it causes", "改用按误差选择范围的规则"),
            override(layer_of(layer.name), "activation_quantizer=MSEQuantizer()"),
        )


def channels_uneven(evidence: Evidence) -> Iterator[Advice]:
    """One range serves channels of very different ranges."""
    for layer, tensor, found in _inputs(evidence):
        if tensor.spread < 16 or found >= POOR + 5:
            continue
        yield Advice(
            "channels-uneven",
            (layer.name,),
            harm(layer),
            Text(
                f"the widest channel of the input is {tensor.spread:.0f} times the median one; rounding it costs {db(found)}",
                f"输入中最宽的通道是中位通道的 {tensor.spread:.0f} 倍；舍入后信噪比为 {db(found)}",
            ),
            Text("one range for all channels leaves the others a few levels", "所有通道共用一个范围，其余通道只剩少数量化级"),
            Text(
                "equalize the channels before quantizing, or leave the layer that reads them float",
                "量化前均衡各通道，或让读取它的层保持浮点",
            ),
            leave_float(layer_of(layer.name)),
        )


def clipped_by_rule(evidence: Evidence) -> Iterator[Advice]:
    """The rule cut away more than the finer steps gained."""
    for layer, tensor, found in _inputs(evidence):
        if tensor.rule in HOLDS_ALL or tensor.clipped < 1e-4 or not tensor.step:
            continue
        levels = 2 ** (tensor.bits or 8) - 1
        whole = max(tensor.high, 0.0) - min(tensor.low, 0.0)
        unclipped = 20 * math.log10(tensor.rms / (whole / levels / math.sqrt(12))) if whole and tensor.rms else -math.inf
        if unclipped < found + 3:
            continue
        yield Advice(
            "clipped-by-rule",
            (layer.name,),
            harm(layer),
            Text(
                f"{tensor.clipped:.2%} of the input lie outside the grid: {db(found)}, where its whole range would give {db(unclipped)}",
                f"输入有 {tensor.clipped:.2%} 落在网格之外，信噪比为 {db(found)}；若覆盖全部范围则为 {db(unclipped)}",
            ),
            Text("the rule of the range clips too much", "范围规则截断过多"),
            Text("keep the whole range of this input", "保留该输入的完整范围"),
            override(layer_of(layer.name), "activation_quantizer=AbsmaxQuantizer()"),
        )


def calibration_narrow(evidence: Evidence) -> Iterator[Advice]:
    """The data go far beyond what a range that held everything held."""
    beyond = [layer for layer in evidence.layers if layer.input is not None and _is_beyond(layer.input)]
    if not beyond:
        return
    worst = max(beyond, key=harm)
    share = worst.input.clipped if worst.input is not None else 0.0
    yield Advice(
        "calibration-narrow",
        tuple(layer.name for layer in beyond),
        harm(worst),
        Text(
            f"in {worst.name} {share:.2%} of the input lie outside of a range that held all calibration data: {db(worst.input_db)}",
            f"{worst.name} 的输入有 {share:.2%} 落在包含全部校准数据的范围之外：{db(worst.input_db)}",
        ),
        Text("the calibration data do not stand for these data", "校准数据不能代表这些数据"),
        Text("calibrate with more samples, and with such as these among them", "用更多样本重新校准，并包含这类数据"),
        "ptq.quantize_model(model, more_varied_data, config)",
    )


def _is_beyond(tensor: TensorRecord) -> bool:
    """Whether values lie outside of a range that clipped nothing of the calibration data."""
    if tensor.sqnr_db is None or tensor.clipped < 1e-4:
        return False
    if tensor.step is None:  # the grids of channels hold all that was seen
        return tensor.clipped > 1e-3 and tensor.sqnr_db < POOR
    high = tensor.high / tensor.grid_high if tensor.grid_high else 0.0
    low = tensor.low / tensor.grid_low if tensor.grid_low else 0.0
    return tensor.rule in (*HOLDS_ALL, "") and max(high, low) > 1.25


def unused_negatives(evidence: Evidence) -> Iterator[Advice]:
    """A symmetric grid for a tensor with a short negative tail, as HardSwish and SiLU leave."""
    for layer, tensor, found in _inputs(evidence):
        low = tensor.grid_low or 0.0
        if low >= 0 or found >= POOR + 10 or tensor.low < low / 4 or not -low > 0.9 * (tensor.grid_high or 0.0):
            continue
        yield Advice(
            "unused-negatives",
            (layer.name,),
            harm(layer),
            Text(
                f"the grid begins at {low:.3g}, the values at {tensor.low:.3g}; rounding them costs {db(found)}",
                f"网格从 {low:.3g} 开始，而数值从 {tensor.low:.3g} 开始；舍入后信噪比为 {db(found)}",
            ),
            Text("a symmetric grid wastes nearly half of its levels here", "对称网格在此浪费了近一半的量化级"),
            Text("use a grid with a zero point", "改用带零点的网格"),
            override(layer_of(layer.name), "activation_quantizer=MSEQuantizer(symmetric=False)"),
        )
