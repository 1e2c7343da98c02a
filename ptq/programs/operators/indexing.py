"""Operators that pick and set values by position."""

from __future__ import annotations

__all__ = ["OPERATORS"]

OPERATORS: dict[str, tuple[str, str]] = {
    "slice": ("replayed.slice_", "input axes starts:n ends:n infer_flags decrease_axis"),
    "strided_slice": ("replayed.strided_slice", "x axes starts:n ends:n strides:n"),
    "gather": ("native.gather", "x index axis:n"),
    "gather_nd": ("native.gather_nd", "x index"),
    "index_select": ("native.index_select", "x index axis"),
    "index_sample": ("native.index_sample", "x index"),
    "index_put": ("native.index_put", "x indices value accumulate"),
    "index_add": ("native.index_add", "x index add_value axis"),
    "take_along_axis": ("native.take_along_axis", "arr indices axis"),
    "put_along_axis": ("native.put_along_axis", "arr indices values axis reduce include_self"),
    "scatter": ("native.scatter", "x index updates overwrite"),
    "scatter_nd_add": ("native.scatter_nd_add", "x index updates"),
    "masked_select": ("native.masked_select", "x mask"),
    "multiplex": ("native.multiplex", "inputs index"),
    "set_value": ("replayed.set_value", "x starts:n ends:n steps:n axes decrease_axes none_axes shape values"),
    "set_value_with_tensor": ("replayed.set_value_with_tensor", "x values starts:n ends:n steps:n axes decrease_axes none_axes"),
    "one_hot": ("native.one_hot", "x num_classes:n"),
    "embedding": ("native.embedding", "x weight padding_idx sparse"),
    "shard_index": ("native.shard_index", "input index_num nshards shard_id ignore_value"),
    "sequence_mask": ("native.sequence_mask", "x max_len:n out_dtype"),
    "gather_tree": ("native.gather_tree", "ids parents"),
}
