"""Products with weights in blocks: the plain unpacking that `ptq.layers.block_weight` writes becomes one MatMulNBits.

What reads such a weight in another way (convolutions, recurrent layers, look-ups of rows) keeps the plain operations: the runtimes unpack a
whole weight once, when they load the file, and a look-up only the rows that it names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantizers.grids.block_grid import BlockGrid, block_count
from quantizers.grids.packing import container_bits, pack, unpack

from .evaluate import evaluate_values
from .graph import GRID, EditableGraph
from .linear import bias_after
from .weights import name_of_layer, weight_of

__all__ = ["has_block_products", "with_float_sums", "write_block_products"]

DOMAIN, OP = "com.microsoft", "MatMulNBits"
# Activations are rounded to 8 bits in blocks, which the fast kernels need; 0 would sum in float, at a tenth of the speed with 8 bits.
ACCURACY_LEVEL = 4
LARGEST_BLOCK, SMALLEST_BLOCK = 256, 16


@dataclass(frozen=True)
class Rows:
    """A stored weight: the name of its constant, codes ``[N, K]``, their grids, and factors of the features, if any."""

    name: str
    codes: np.ndarray
    grid: BlockGrid
    factor: np.ndarray | None = None

    def dequantize(self) -> np.ndarray:
        """The numbers that it stands for, float32 ``[N, K]``."""
        real = self.grid.dequantize(self.codes)
        return real if self.factor is None else real * self.factor


def write_block_products(graph: EditableGraph) -> None:
    """Turns products with stored rows into MatMulNBits, in a graph without grids also those with plain int8 weights."""
    has_grids = bool(graph.of(GRID))
    written: dict[str, str] = {}
    for node in graph.of("MatMul"):
        rows = _stored_rows(graph, node.input[1])
        if rows is None and not has_grids:
            rows = _plain_rows(graph, node.input[1])
        if rows is not None:
            written[rows.name] = _write(graph, node, rows)
    graph.prune()
    for stored, blocks in written.items():
        _share(graph, stored, blocks)


def has_block_products(model: Any) -> bool:
    """Whether an ONNX model has such products."""
    return any(node.op_type == OP for node in model.graph.node)


def with_float_sums(model: Any) -> Any:
    """A copy of an ONNX model whose products with weights in blocks leave activations in float."""
    copy = type(model)()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        for attribute in node.attribute:
            if node.op_type == OP and attribute.name == "accuracy_level":
                attribute.i = 0
    return copy


def _path(graph: EditableGraph, value: str) -> Iterator[Any]:
    """The nodes from a value back along first inputs, as long as they compute from constants."""
    node = graph.producer(value)
    while node is not None:
        yield node
        node = graph.producer(node.input[0])


def _stored_rows(graph: EditableGraph, value: str) -> Rows | None:
    """The rows that a matrix ``[K, N]`` was unpacked from; ``None`` where it is nothing of the kind, to the last number."""
    path = list(_path(graph, value))[::-1]
    if not path or path[0].op_type != "Cast" or not _is_constant(graph, value):
        return None
    stored = graph.constants.get(path[0].input[0])
    reshape = next((node for node in path if node.op_type == "Reshape"), None)
    if stored is None or stored.dtype != np.int8 or stored.ndim != 2 or reshape is None:
        return None
    shape = graph.constants.get(reshape.input[1])
    behind = path[path.index(reshape) + 1 :]
    products = [node for node in behind if node.op_type == "Mul"]
    differences = [node for node in behind if node.op_type == "Sub"]
    if shape is None or shape.size != 3 or not products or len(products) > 2:
        return None
    asked = [value, *(node.input[1] for node in (*products, *differences[:1]))]
    matrix, scale, *others = evaluate_values(graph, asked)
    factor = others.pop(0) if len(products) == 2 else None
    found = _read(path[0].input[0], stored, shape, matrix, scale, others[0] if others else np.zeros(()), factor)
    return found if found is not None and np.array_equal(found.dequantize().T, matrix) else None


def _read(
    name: str, stored: np.ndarray, shape: np.ndarray, matrix: np.ndarray, scale: np.ndarray, zero: np.ndarray, factor: np.ndarray | None
) -> Rows | None:
    blocks, size, features = int(shape[1]), int(shape[2]), matrix.shape[0]
    per_byte = blocks * size // stored.shape[1]
    if matrix.ndim != 2 or matrix.shape[1] != stored.shape[0] or per_byte not in (1, 2, 4) or per_byte * stored.shape[1] != blocks * size:
        return None
    bits = 8 // per_byte
    codes = unpack((stored.astype(np.int16) + 128).astype(np.uint8), bits, features)
    grids = np.broadcast_shapes(scale.shape[:2], np.shape(zero)[:2])
    if len(grids) != 2 or grids[1] not in (1, blocks):
        return None
    zero_point = np.broadcast_to(np.reshape(zero, np.shape(zero)[:2] if np.ndim(zero) else ()), grids) + (128 if bits == 8 else 0)
    grid = BlockGrid(np.broadcast_to(scale.reshape(scale.shape[:2]), grids), zero_point, bits, size if blocks > 1 else None)
    return Rows(name, codes, grid, factor)


def _plain_rows(graph: EditableGraph, value: str) -> Rows | None:
    """The same of a weight ``[K, N]`` that is stored as int8 with a scale for each column, or one in all."""
    weight = weight_of(graph, value)
    if weight is None or weight.integers.ndim != 2 or weight.axis not in (None, 1):
        return None
    scale = np.broadcast_to(weight.scale.reshape(-1, 1), (weight.integers.shape[1], 1))
    return Rows(weight.name, np.ascontiguousarray(weight.integers.T).astype(np.int32) + 128, BlockGrid.symmetric(scale, 8))


def _write(graph: EditableGraph, node: Any, rows: Rows) -> str:
    """The product as MatMulNBits; the name of the constant that holds the codes."""
    (count, features), bits = rows.codes.shape, container_bits(rows.grid.num_bits)
    size = rows.grid.group_size or _block_size(features)
    blocks = block_count(features, size)
    scale, zero_point = (np.broadcast_to(values, (count, blocks)) for values in (rows.grid.scale, rows.grid.zero_point))
    filled = np.repeat(zero_point, size, axis=1)
    filled[:, :features] = rows.codes
    path = name_of_layer(rows.name) or node.name
    codes = graph.constant(pack(filled, bits).reshape(count, blocks, -1), f"{rows.name}:blocks")
    operands = [graph.constant(np.ascontiguousarray(scale).ravel(), f"{rows.name}:block_scales")]
    # written where the middle is meant, too, but for whole bytes, where they would take as much as a quarter of the scales
    has_middle = bits == 8 and rows.grid.num_bits == 8 and rows.grid.is_symmetric
    operands.append("" if has_middle else graph.constant(pack(zero_point, bits).ravel(), f"{rows.name}:block_zero_points"))
    value, output, add = node.input[0], node.output[0], None
    bias, add = bias_after(graph, node, count)
    graph.remove(node)
    if add is not None:
        graph.remove(add)
        output = add.output[0]
    if rows.factor is not None:
        value = graph.add("Mul", [value, graph.constant(rows.factor.astype(np.float32), f"{rows.name}:factor")], "", f"{path}:factor")
    inputs = [value, codes, *operands, *([] if bias is None else ["", bias])]
    while not inputs[-1]:
        inputs.pop()
    facts = {"K": features, "N": count, "bits": bits, "block_size": size, "accuracy_level": ACCURACY_LEVEL}
    graph.add(OP, inputs, output, path, domain=DOMAIN, **facts)
    return codes


def _block_size(features: int) -> int:
    """For rows with one grid: the largest block of the kernels that fills up least."""
    sizes = [LARGEST_BLOCK >> step for step in range(5) if LARGEST_BLOCK >> step >= SMALLEST_BLOCK]
    return min(sizes, key=lambda size: (-features % size, -size))


def _share(graph: EditableGraph, stored: str, blocks: str) -> None:
    """Lets look-ups of rows read the codes of the product, so that a tied weight is in the file once."""
    integers, codes = graph.constants.get(stored), graph.constants[blocks]
    if integers is None or integers.shape != (codes.shape[0], codes[0].size) or codes.dtype != np.uint8:
        return
    gathers = [node for node in graph.readers(stored) if node.op_type == "Gather" and node.input[0] == stored]
    if not gathers or len(gathers) != len(graph.readers(stored)):
        return
    flat = graph.constant(np.array([codes.shape[0], -1], np.int64), f"{blocks}:flat")
    matrix = graph.add("Reshape", [blocks, flat], "", f"{blocks}:rows")
    for node in gathers:
        graph.set_input(node, 0, matrix)
        found = node.output[0]
        for reader in graph.readers(found):
            wide = graph.add("Cast", [found], "", f"{found}:wide", to=6)  # int32
            signed = graph.add("Sub", [wide, graph.constant(np.int32(128), "byte:offset")])
            graph.redirect(found, signed, [reader])


def _is_constant(graph: EditableGraph, value: str) -> bool:
    node = graph.producer(value)
    return value in graph.constants or (node is not None and all(_is_constant(graph, name) for name in node.input if name))
