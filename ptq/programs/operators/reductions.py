"""Operators that make one number of many, count, sort or sum up along an axis."""

from __future__ import annotations

__all__ = ["OPERATORS"]

OPERATORS: dict[str, tuple[str, str]] = {
    "sum": ("paddle.sum", "x axis:n dtype:d keepdim"),
    "mean": ("native.mean", "x axis:n keepdim"),
    "mean_all": ("native.mean_all", "x"),
    "max": ("native.max", "x axis:n keepdim"),
    "min": ("native.min", "x axis:n keepdim"),
    "amax": ("native.amax", "x axis keepdim"),
    "amin": ("native.amin", "x axis keepdim"),
    "prod": ("native.prod", "x axis:n keepdim reduce_all"),
    "any": ("native.any", "x axis keepdim"),
    "all": ("native.all", "x axis keepdim"),
    "argmax": ("replayed.argmax", "x axis:n keepdims flatten dtype"),
    "argmin": ("replayed.argmin", "x axis:n keepdims flatten dtype"),
    "argsort": ("native.argsort", "x axis descending stable"),
    "topk": ("native.topk", "x k:n axis largest sorted"),
    "cumsum": ("native.cumsum", "x axis:n flatten exclusive reverse"),
    "cumprod": ("native.cumprod", "x dim exclusive reverse"),
    "logsumexp": ("paddle.logsumexp", "x axis keepdim"),
    "p_norm": ("native.p_norm", "x porder axis epsilon keepdim asvector"),
    "frobenius_norm": ("native.frobenius_norm", "x axis:n keep_dim reduce_all"),
    "squared_l2_norm": ("native.squared_l2_norm", "x"),
    "trace": ("native.trace", "x offset axis1 axis2"),
    "nonzero": ("native.nonzero", "condition"),
    "unique": ("native.unique", "x return_index return_inverse return_counts axis dtype"),
    "bincount": ("native.bincount", "x weights minlength:n"),
    "searchsorted": ("native.searchsorted", "sorted_sequence values out_int32 right"),
    "histogram": ("native.histogram", "input weight bins min max density"),
    "kthvalue": ("native.kthvalue", "x k axis keepdim"),
    "median": ("native.median", "x axis keepdim mode"),
    "reduce_as": ("native.reduce_as", "x target"),
}
