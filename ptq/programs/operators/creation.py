"""Operators that make tensors out of numbers."""

from __future__ import annotations

__all__ = ["OPERATORS"]

OPERATORS: dict[str, tuple[str, str]] = {
    "full_like": ("replayed.full_like", "x value:n dtype:d"),
    "full_with_tensor": ("replayed.full", "value:n shape:n dtype"),
    "full_batch_size_like": ("replayed.full_batch_size_like", "input shape dtype value input_dim_idx output_dim_idx"),
    "arange": ("paddle.arange", "start:n end:n step:n dtype"),
    "linspace": ("paddle.linspace", "start:n stop:n number:n dtype"),
    "eye": ("paddle.eye", "num_rows:n num_columns:n dtype"),
    "tril_indices": ("paddle.tril_indices", "rows cols offset dtype"),
    "triu_indices": ("paddle.triu_indices", "row col offset dtype"),
    "assign_value": ("replayed.assign_value", "shape dtype values"),
    "full": ("paddle.full", "shape value dtype"),
    "full_int_array": ("paddle.to_tensor", "value dtype"),
}
