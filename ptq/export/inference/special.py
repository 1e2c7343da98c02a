"""The operations whose legacy form takes a thought: grids, weights, biases, and arguments that changed their kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from quantizers.errors import ExportError

from ...util.paddle_private import legacy_type
from .grids import GRID, WEIGHT
from .merged import ROUNDING
from .program import Op, Operand, dtype_name
from .writer import Writer

__all__ = ["SPECIAL"]

SMALLEST_STEP = 1e-6
QUANTIZE = {"round_type": 0, "is_test": True}


def _grid(writer: Writer, op: Op) -> None:
    (name,), bits = op.outputs, op.attrs["bits"]
    half = 2 ** (bits - 1)
    zero_point = round(op.attrs["zero_point"]) - half
    attrs = {**QUANTIZE, "quant_axis": -1, "bit_length": bits}
    if zero_point:
        # Paddle's own kernels ignore the zero point and would answer wrongly. With a range of nothing they answer NaN instead; the
        # OpenVINO engine reads bit_length and never the range.
        attrs.update(qmin=0, qmax=0)
    integers, gain = writer.temporary(name, f"{name}.integers"), _gain(op.attrs["scale"])
    parameters = _parameters(writer, name, np.array([op.attrs["scale"] * gain * (half - 1)]), np.array([zero_point]))
    source, result = op.inputs[0], name
    if gain != 1:
        source, result = writer.temporary(name, f"{name}.enlarged"), writer.temporary(name, f"{name}.large")
        _scale(writer, op.inputs[0], source, gain)
    writer.append("quantize_linear", {"X": source, **parameters}, {"Y": [integers]}, attrs)
    writer.append("dequantize_linear", {"X": integers, **parameters}, {"Y": [result]}, attrs)
    if gain != 1:
        _scale(writer, result, name, 1 / gain)


def _gain(step: float) -> float:
    """The power of two that brings a tiny step into the usual range, 1 for others.

    OpenVINO 2025.0, which Paddle 3.3 bundles, loses the zero point of a grid whose step is below 9e-9.
    """
    return 1.0 if step >= SMALLEST_STEP else 2.0 ** math.ceil(math.log2(SMALLEST_STEP / step))


def _scale(writer: Writer, source: Operand, target: str, factor: float) -> None:
    writer.append("scale", {"X": source}, {"Out": [target]}, {"scale": factor, "bias": 0.0, "bias_after_scale": True})


def _rounding(writer: Writer, op: Op) -> None:
    (name,), scale, centre = op.outputs, op.attrs["scale"], op.attrs["zero_point"] - 128
    integers = writer.temporary(name, f"{name}.integers")
    parameters = _parameters(writer, name, np.array([127]), np.array([0]))  # one step is 1
    writer.append("quantize_linear", {"X": op.inputs[0], **parameters}, {"Y": [integers]}, {**QUANTIZE, "quant_axis": -1, "bit_length": 8})
    writer.append("scale", {"X": integers}, {"Out": [name]}, {"scale": scale, "bias": -centre * scale, "bias_after_scale": True})


def _weight(writer: Writer, op: Op) -> None:
    (name,), scale, axis = op.outputs, op.attrs["scale"] * 127, op.attrs["axis"]
    parameters = _parameters(writer, name, scale, np.zeros(scale.shape))
    attrs = {**QUANTIZE, "quant_axis": -1 if axis is None else axis, "bit_length": 8}
    writer.append("dequantize_linear", {"X": op.inputs[0], **parameters}, {"Y": [name]}, attrs)


def _parameters(writer: Writer, name: str, scale: np.ndarray, zero_point: np.ndarray) -> dict[str, Operand]:
    """Scale, as the largest magnitude of the signed grid, and zero point of a grid, as persistable tensors."""
    writer.declare(f"{name}.scale", scale.astype(np.float32))
    writer.declare(f"{name}.zero_point", zero_point.astype(np.int32))
    return {"Scale": f"{name}.scale", "ZeroPoint": f"{name}.zero_point"}


def _batch_norm(writer: Writer, op: Op) -> None:
    if not (op.attrs["use_global_stats"] or op.attrs["is_test"]):
        raise ExportError(f"{op.place()} computes statistics of its input; save the model in eval mode")
    inputs = dict(zip(("X", "Mean", "Variance", "Scale", "Bias"), op.inputs, strict=True))
    names = ("epsilon", "momentum")
    attrs = {name: op.attrs[name] for name in names} | {"data_layout": op.attrs["data_format"], "is_test": True, "use_global_stats": True}
    saved = {"SavedMean": [op.outputs[3]], "SavedVariance": [op.outputs[4]]}
    writer.append(
        "batch_norm", inputs, {"Y": op.outputs[:1], "MeanOut": [str(op.inputs[1])], "VarianceOut": [str(op.inputs[2])], **saved}, attrs
    )


def _reduce(legacy: str) -> Callable[[Writer, Op], None]:
    def write(writer: Writer, op: Op) -> None:
        axes = writer.constants(op, op.inputs[1]) if len(op.inputs) > 1 else list(op.attrs["axis"])
        attrs = {"dim": axes or [0], "keep_dim": op.attrs["keepdim"], "reduce_all": not axes}
        writer.append(legacy, {"X": op.inputs[0]}, {"Out": op.outputs}, attrs)

    return write


def _pad(writer: Writer, op: Op) -> None:
    """Padding of every axis, as one of the three inner axes of a rank that the engine's padding knows."""
    (source, name), pads = (str(op.inputs[0]), op.outputs[0]), list(op.attrs["paddings"])
    rank = len(writer.source.tensors[source].shape)
    if rank > 4 or any(pads[:2]):
        raise ExportError(
            f"{op.place()} pads the batch or more than three axes, which Paddle Inference's int8 engine does not; use the format 'onnx'"
        )
    added = list(range(1, 6 - rank))
    inner = [size for axis in range(rank - 1, 0, -1) for size in pads[2 * axis : 2 * axis + 2]]
    attrs = {
        "paddings": inner + [0] * (6 - len(inner)),
        "mode": "constant",
        "value": float(writer.constants(op, op.inputs[1])[0]),
        "data_format": "NCDHW",
    }
    raised, padded = writer.temporary(name, f"{name}.raised"), writer.temporary(name, f"{name}.padded")
    writer.append("unsqueeze2", {"X": source}, {"Out": [raised]}, {"axes": added})
    writer.append("pad3d", {"X": raised}, {"Out": [padded]}, attrs)
    writer.append("squeeze2", {"X": padded}, {"Out": [name]}, {"axes": added})


def _triangle(lower: bool) -> Callable[[Writer, Op], None]:
    def write(writer: Writer, op: Op) -> None:
        writer.append("tril_triu", {"X": op.inputs[0]}, {"Out": op.outputs}, {"diagonal": op.attrs["diagonal"], "lower": lower})

    return write


def _strided_slice(writer: Writer, op: Op) -> None:
    bounds = {name: writer.constants(op, operand) for name, operand in zip(("starts", "ends", "strides"), op.inputs[1:], strict=True)}
    axes = op.attrs["axes"]
    writer.append(
        "strided_slice",
        {"Input": op.inputs[0]},
        {"Out": op.outputs},
        {**bounds, "axes": axes, "infer_flags": [1] * len(axes), "decrease_axis": []},
    )


def _cast(writer: Writer, op: Op) -> None:
    attrs = {
        "in_dtype": legacy_type(writer.source.tensors[str(op.inputs[0])].dtype),
        "out_dtype": legacy_type(dtype_name(op.attrs["dtype"])),
    }
    writer.append("cast", {"X": op.inputs[0]}, {"Out": op.outputs}, attrs)


def _dropout(writer: Writer, op: Op) -> None:
    """At inference, a dropout of the mode that scales then, not while training; the other mode does nothing."""
    if not op.attrs["is_test"]:
        raise ExportError(f"{op.place()} drops elements at random; save the model in eval mode")
    kept = 1.0 - writer.constants(op, op.inputs[2])[0] if len(op.inputs) > 2 else 1.0 - op.attrs["p"]
    writer.append("scale", {"X": op.inputs[0]}, {"Out": op.outputs[:1]}, {"scale": float(kept), "bias": 0.0, "bias_after_scale": True})


def _shape64(writer: Writer, op: Op) -> None:
    narrow = writer.temporary(op.outputs[0], f"{op.outputs[0]}.int32", "int32")
    writer.append("shape", {"Input": op.inputs[0]}, {"Out": [narrow]}, {})
    attrs = {"in_dtype": legacy_type("int32"), "out_dtype": legacy_type("int64")}
    writer.append("cast", {"X": narrow}, {"Out": op.outputs}, attrs)


def _argmax(writer: Writer, op: Op) -> None:
    axis = writer.constants(op, op.inputs[1])[0]
    attrs = {
        "axis": axis,
        "keepdims": op.attrs["keepdims"],
        "flatten": op.attrs["flatten"],
        "dtype": legacy_type(dtype_name(op.attrs["dtype"])),
    }
    writer.append("arg_max", {"X": op.inputs[0]}, {"Out": op.outputs}, attrs)


def _full_like(writer: Writer, op: Op) -> None:
    attrs = {"value": float(writer.constants(op, op.inputs[1])[0]), "dtype": legacy_type(writer.source.tensors[op.outputs[0]].dtype)}
    writer.append("fill_any_like", {"X": op.inputs[0]}, {"Out": op.outputs}, attrs)


def _expand(writer: Writer, op: Op) -> None:
    writer.append("expand_v2", {"X": op.inputs[0]}, {"Out": op.outputs}, {"shape": writer.constants(op, op.inputs[1])})


def _arange(writer: Writer, op: Op) -> None:
    dtype, bounds = writer.source.tensors[op.outputs[0]].dtype, {}
    for slot, operand in zip(("Start", "End", "Step"), op.inputs, strict=True):
        array = writer.source.arrays.get(str(operand))
        bounds[slot] = operand if array is None else f"{op.outputs[0]}.{slot}"
        if array is not None:  # stored as float64, whatever is counted
            writer.declare(f"{op.outputs[0]}.{slot}", array.reshape(()).astype(dtype))
    writer.append("range", bounds, {"Out": op.outputs}, {})


def _interpolate(writer: Writer, op: Op) -> None:
    names = ("out_d", "out_h", "out_w", "scale", "interp_method", "align_corners", "align_mode")
    attrs: dict[str, Any] = {name: op.attrs[name] for name in names} | {"data_layout": op.attrs["data_format"]}
    if op.inputs[1] is not None:
        attrs.update(zip(("out_h", "out_w"), writer.constants(op, op.inputs[1]), strict=True))
    writer.append(f"{op.kind}_v2", {"X": op.inputs[0]}, {"Out": op.outputs}, attrs)


SPECIAL: dict[str, Callable[[Writer, Op], None]] = {
    GRID: _grid,
    ROUNDING: _rounding,
    WEIGHT: _weight,
    "batch_norm": _batch_norm,
    "mean": _reduce("reduce_mean"),
    "sum": _reduce("reduce_sum"),
    "max": _reduce("reduce_max"),
    "min": _reduce("reduce_min"),
    "prod": _reduce("reduce_prod"),
    "pad": _pad,
    "tril": _triangle(lower=True),
    "triu": _triangle(lower=False),
    "strided_slice": _strided_slice,
    "cast": _cast,
    "dropout": _dropout,
    "shape64": _shape64,
    "argmax": _argmax,
    "full_like": _full_like,
    "expand": _expand,
    "arange": _arange,
    "nearest_interp": _interpolate,
    "bilinear_interp": _interpolate,
    "bicubic_interp": _interpolate,
    "linear_interp": _interpolate,
}
