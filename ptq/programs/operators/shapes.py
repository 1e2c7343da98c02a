"""Operators that move values and change shapes."""

from __future__ import annotations

__all__ = ["OPERATORS"]

OPERATORS: dict[str, tuple[str, str]] = {
    "reshape": ("replayed.reshape", "x shape:n"),
    "transpose": ("paddle.transpose", "x perm"),
    "flatten": ("paddle.flatten", "x start_axis stop_axis"),
    "squeeze": ("replayed.squeeze", "x axis:n"),
    "unsqueeze": ("replayed.unsqueeze", "x axis:n"),
    "concat": ("paddle.concat", "x axis:n"),
    "stack": ("paddle.stack", "x axis"),
    "split": ("native.split", "x sections:n axis:n"),
    "split_with_num": ("native.split_with_num", "x num axis:n"),
    "unbind": ("native.unbind", "input axis"),
    "unstack": ("native.unstack", "x axis num"),
    "expand": ("replayed.expand", "x shape:n"),
    "expand_as": ("paddle.expand_as", "x y"),
    "tile": ("replayed.tile", "x repeat_times:n"),
    "shape": ("native.shape", "input"),
    "shape64": ("native.shape64", "input"),
    "roll": ("native.roll", "x shifts:n axis"),
    "flip": ("native.flip", "x axis"),
    "reverse": ("native.reverse", "x axis:n"),
    "repeat_interleave": ("native.repeat_interleave", "x repeats axis output_size"),
    "assign": ("paddle.assign", "x"),
    "assign_out": ("paddle.assign", "x"),
    "share_data": ("replayed.identity", "x"),
    "view_shape": ("native.view_shape", "input dims"),
    "meshgrid": ("replayed.grid", "inputs"),
    "broadcast_tensors": ("native.broadcast_tensors", "input"),
    "tril": ("native.tril", "x diagonal"),
    "triu": ("native.triu", "x diagonal"),
    "diag": ("native.diag", "x offset padding_value"),
    "diagonal": ("native.diagonal", "x offset axis1 axis2"),
    "is_empty": ("paddle.is_empty", "x"),
    "builtin.split": ("replayed.identity", "x0"),
    "builtin.slice": ("replayed.unbound", "x0 index"),
}
