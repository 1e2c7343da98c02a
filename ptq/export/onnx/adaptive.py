"""Adaptive average pools whose windows differ in size: the converter from Paddle writes wrong ones without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from quantizers.errors import ExportError

from ...util.extras import import_extra

__all__ = ["repair_adaptive_pools"]


def repair_adaptive_pools(program: Any, model: Any) -> None:
    """Replaces in ``model``, in place, every adaptive pool whose output size does not divide its input size.

    Args:
        program: the Paddle program as JSON.
        model: the ONNX model that it was converted to; its values carry the program's operation names and numbers.

    Raises:
        ExportError: such a pool takes the maximum, or its input size is free.
    """
    helper, numpy_helper = import_extra("onnx", "onnx").helper, import_extra("onnx", "onnx").numpy_helper
    nodes = {node.output[0]: node for node in model.graph.node}
    for number, kind, given, wanted in _uneven_pools(program):
        value = f"p2o.pd_op.pool2d.{number}.0"
        node = nodes.get(value)
        if kind != "avg" or min(given) < 1 or node is None or node.op_type != "AveragePool":
            raise ExportError(
                f"adaptive {kind} pooling from {given[0]}x{given[1]} to {wanted[0]}x{wanted[1]} cannot be written as ONNX; "
                "choose an input size that makes the output size divide its input, or a Paddle format"
            )
        matrices = [f"{value}:{axis}" for axis in "hw"]
        for name, size, count in zip(matrices, given, wanted, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(_windows(size, count), name))
        node.CopyFrom(helper.make_node("Einsum", [node.input[0], *matrices], [value], name=node.name, equation="nchw,ih,jw->ncij"))


def _uneven_pools(program: Any) -> Iterator[tuple[int, str, list[int], list[int]]]:
    """Number among the program's pools, kind, input and output size of the pools to replace."""
    ops = program["program"]["regions"][0]["blocks"][0]["ops"]
    shapes = {out["%"]: out["TT"]["D"][1] for op in ops for out in (op["O"] if isinstance(op["O"], list) else [op["O"]]) if "TT" in out}
    for number, op in enumerate(op for op in ops if op["#"] == "1.pool2d"):
        facts = {item["N"]: item["AT"]["D"] for item in op["A"]}
        height = 2 if facts.get("data_format", "NCHW") == "NCHW" else 1
        given, wanted = (shapes[end["%"]][height : height + 2] for end in (op["I"][0], op["O"][0]))
        if facts.get("adaptive") and wanted != [1, 1] and any(size < 1 or size % count for size, count in zip(given, wanted, strict=True)):
            yield number, facts.get("pooling_type", ""), given, wanted


def _windows(size: int, count: int) -> np.ndarray:
    """The mean over each of ``count`` windows of a line of ``size`` values, as a matrix [count, size]."""
    matrix = np.zeros((count, size), np.float32)
    for index in range(count):
        start, stop = index * size // count, -(-(index + 1) * size // count)
        matrix[index, start:stop] = 1 / (stop - start)
    return matrix
