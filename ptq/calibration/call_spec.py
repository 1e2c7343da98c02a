"""How a model was called, without the data: shapes and dtypes of its arguments as JSON values that can be stored and merged.

A node is one of ``{"tensor": {"shape": [None, 3, 8, 8], "dtype": "float32"}}``, ``{"tuple": [node, ...]}``, ``{"list": [node, ...]}``,
``{"dict": [[name, node], ...]}`` (sorted), ``{"value": None | bool | int | float | str}`` and ``{"object": "ClassName"}`` for what
cannot be stored.  A call is the node of ``(args, kwargs)``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from paddle.static import InputSpec

from quantizers.errors import CalibrationError

__all__ = ["Node", "check_call", "decode_call", "encode", "merge_nodes"]

Node = dict[str, Any]

_INTEGERS = {"bool", "uint8", "int8", "int16", "int32", "int64"}
_DTYPES = _INTEGERS | {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}
_MAX_DEPTH = 16
_MAX_INT = 1 << 63


def encode(value: Any) -> Node:
    """The node of a call's arguments, `InputSpec`s in place of tensors."""
    if isinstance(value, InputSpec):
        dtype = str(value.dtype).split(".")[-1]
        shape = [None if size is None or int(size) < 0 else int(size) for size in value.shape]
        return {"tensor": {"shape": shape, "dtype": dtype}} if dtype in _DTYPES else {"object": f"tensor of {dtype}"}
    if type(value) in (tuple, list):
        return {type(value).__name__: [encode(item) for item in value]}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": [[key, encode(value[key])] for key in sorted(value)]}
    return {"value": value} if _is_plain(value) else {"object": type(value).__name__}


def decode_call(node: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """``(args, kwargs)`` of a checked call node, `InputSpec`s in place of tensors.

    Raises:
        CalibrationError: an argument was an object that cannot be stored.
    """
    args, kwargs = _decode(node)
    return args, kwargs


def merge_nodes(first: Node | None, second: Node | None) -> Node | None:
    """One node for two; dimensions that differ become free.

    Where the two do not describe the same arguments, the smaller in a fixed order is kept, so that the result never depends on
    the order of merging.  ``None`` stands for no call.
    """
    if first is None or second is None:
        return second if first is None else first
    keys = _sort_key(first), _sort_key(second)
    if keys[0] != keys[1]:
        return first if keys[0] < keys[1] else second
    (kind, a), (_, b) = next(iter(first.items())), next(iter(second.items()))
    if kind == "tensor":
        shape = [m if m == n else None for m, n in zip(a["shape"], b["shape"], strict=True)]
        return {"tensor": {"shape": shape, "dtype": a["dtype"]}}
    if kind in ("tuple", "list"):
        return {kind: [merge_nodes(m, n) for m, n in zip(a, b, strict=True)]}
    if kind == "dict":
        return {kind: [[name, merge_nodes(m, n)] for (name, m), (_, n) in zip(a, b, strict=True)]}
    return first


def check_call(node: Any) -> None:
    """Raises ``ValueError`` unless ``node`` is what `encode` makes of ``(args, kwargs)``."""
    _check(node, 0)
    parts = node.get("tuple")
    if parts is None or len(parts) != 2 or "tuple" not in parts[0] or "dict" not in parts[1]:
        raise ValueError("the input spec does not describe (args, kwargs)")


def _is_plain(value: Any) -> bool:
    if value is None or isinstance(value, (bool, str)):
        return True
    if type(value) is int:
        return -_MAX_INT <= value < _MAX_INT
    return type(value) is float and math.isfinite(value)


def _decode(node: Node) -> Any:
    ((kind, content),) = node.items()
    if kind == "tensor":
        return InputSpec(list(content["shape"]), content["dtype"])  # which writes -1 into the list that it is given
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(_decode(item) for item in content)
    if kind == "dict":
        return {name: _decode(item) for name, item in content}
    if kind == "object":
        raise CalibrationError(
            f"the model was calibrated with an argument of type {content}, which a calibration cannot describe; "
            "pass input_spec to quantize and to save_quantized_model"
        )
    return content


def _sort_key(node: Node) -> tuple[str, str]:
    """Nodes of equal keys describe the same arguments, up to the sizes of dimensions."""
    ((kind, content),) = node.items()
    if kind == "tensor":
        return kind, f"{content['dtype']} {len(content['shape']):04d}"
    if kind in ("tuple", "list"):
        return kind, f"{len(content):09d}"
    if kind == "dict":
        return kind, json.dumps([name for name, _ in content])
    return kind, json.dumps(content)


def _check(node: Any, depth: int) -> None:
    if depth > _MAX_DEPTH or not isinstance(node, dict) or len(node) != 1:
        raise ValueError("the input spec is malformed")
    ((kind, content),) = node.items()
    if kind in ("tuple", "list") and isinstance(content, list):
        for item in content:
            _check(item, depth + 1)
    elif kind == "dict" and isinstance(content, list):
        if not all(isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) for entry in content):
            raise ValueError("the input spec is malformed")
        names = [name for name, _ in content]
        if names != sorted(set(names)):
            raise ValueError("the input spec has names twice or out of order")
        for _, item in content:
            _check(item, depth + 1)
    else:
        is_tensor, is_value = kind == "tensor" and _is_tensor(content), kind == "value" and _is_plain(content)
        if not (is_tensor or is_value or (kind == "object" and isinstance(content, str))):
            raise ValueError("the input spec is malformed")


def _is_tensor(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and content.keys() == {"shape", "dtype"}
        and isinstance(content["dtype"], str)
        and content["dtype"] in _DTYPES
        and isinstance(content["shape"], list)
        and len(content["shape"]) <= _MAX_DEPTH
        and all(size is None or (type(size) is int and 0 <= size < 1 << 31) for size in content["shape"])
    )
