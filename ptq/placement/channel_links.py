"""Which channels of a model's tensors must be scaled alike, so that every layer with weights can take up what the one before undid.

Channel c of a tensor may be divided by a ratio ``r_c`` where a layer computes it, for its weights and bias can be divided, and
where a layer reads it, for its weights can be multiplied.  Between the two the ratio passes through what is homogeneous of
degree one (``relu(x / r) == relu(x) / r``, pools, interpolation, products with a gate); an addition needs one ratio for both of its
operands.  All else needs the tensor as it is: its ratios are fixed at 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..graph.dataflow import Graph, Op
from ..graph.operators import Cost

__all__ = ["CAPPED", "FIXED", "ChannelLinks"]

Nodes = npt.NDArray[np.int64]
Ties = list[tuple[Nodes, Nodes]]

FIXED = 0
# What is computed of one operand, channel by channel, and homogeneous of degree one for positive factors.
HOMOGENEOUS = frozenset({"relu", "leaky_relu", "prelu", "abs", "assign", "cast", "share_data", "dropout", "pad3d", "mean"})
HOMOGENEOUS |= {"pool2d", "pool3d", "max_pool2d_with_index", "max_pool3d_with_index"}
HOMOGENEOUS |= {"nearest_interp", "bilinear_interp", "bicubic_interp", "linear_interp", "trilinear_interp"}
RESHAPES = frozenset({"reshape", "flatten", "squeeze", "unsqueeze", "view_shape"})
# Homogeneous as long as ratios are at least 1 and what saturates behind it ends where it does.
CAPPED = "relu6"
SUMS = frozenset({"add", "subtract", "maximum", "minimum"})
SPLITS = frozenset({"split", "split_with_num"})


class ChannelLinks:
    """One graph's channels as nodes, linked where their ratios must be equal; node 0 is the ratio that is fixed at 1.

    Args:
        graph: the dataflow.
        axis: of the channels: 1, or -1 for the last one of tensors with at least three.
        skipped: ids of operations that belong to layers whose weights take the ratios.
        multiplied: values in front of whose grid a multiplication may undo ratios, where what computes them needs those of its operands
            to be 1.
        folded: ids of operations that are folded into others, and hand on what they read.
        capped: values that a ReLU6 computes, which ratios of at least 1 pass through.

    Attributes:
        sources: those of ``multiplied``.
        caps: those of ``capped``.
    """

    def __init__(
        self,
        graph: Graph,
        axis: int,
        skipped: Collection[int],
        multiplied: Collection[int] = (),
        folded: Collection[int] = (),
        capped: Collection[int] = (),
    ) -> None:
        self.graph, self.axis = graph, axis
        self._first: dict[int, tuple[int, int]] = {}
        self._pairs: Ties = []
        self._multiplied, self._folded, self._capped = set(multiplied), folded, capped
        self.sources: set[int] = set()
        self.caps: set[int] = set()
        count = FIXED + 1
        for value, shape in graph.shapes.items():
            size = shape[axis] if len(shape) >= (2 if axis == 1 else 3) else -1
            if value in graph.floating and size > 0:
                self._first[value] = count, size
                count += size
        self._count = count
        self.fix((*graph.inputs, *graph.outputs))
        for op in graph.ops:
            if id(op) not in skipped:
                self._link(op)

    @property
    def values(self) -> Collection[int]:
        """The tensors that have channels."""
        return self._first

    def nodes(self, value: int) -> Nodes | None:
        """The nodes of a tensor's channels, ``[C]``; ``None`` for a tensor without channels of a known number."""
        if value not in self._first:
            return None
        first, size = self._first[value]
        return np.arange(first, first + size)

    def fix(self, values: Iterable[int]) -> None:
        """Fixes the ratios of tensors at 1."""
        for value in values:
            nodes = self.nodes(value)
            if nodes is not None:
                self._pairs.append((nodes, np.zeros_like(nodes)))

    def labels(self) -> Nodes:
        """The ratio that each node has, by numbers from 1 on; `FIXED` for what is fixed."""
        if not self._pairs:
            return np.arange(self._count)
        one, other = (np.concatenate(side) for side in zip(*self._pairs, strict=True))
        matrix = coo_array((np.ones(one.size, dtype=bool), (one, other)), shape=(self._count, self._count))
        found = connected_components(matrix, directed=False)[1].astype(np.int64)
        return np.where(found == found[FIXED], FIXED, np.where(found == FIXED, found.max() + 1, found))

    def _link(self, op: Op) -> None:
        ties = self._ties(op)
        if ties is not None:
            self._pairs += ties
            return
        self.fix(op.inputs)
        for value in op.outputs:
            if value in self._multiplied:
                self.sources.add(value)
            else:
                self.fix([value])

    def _ties(self, op: Op) -> Ties | None:
        """The nodes that have one ratio, for the operation is homogeneous; ``None`` for an operation that needs tensors as they are."""
        name = op.plain_name
        if id(op) in self._folded and op.inputs and op.outputs:
            return self._alike(op.inputs[0], op.outputs[0])
        if name == "combine" or op.name == "builtin.split":  # which make a list and take it apart
            return []
        if name in HOMOGENEOUS:
            return None if name in ("pad3d", "dropout") and not op.moves else self._alike(op.inputs[0], op.outputs[0])
        if name == CAPPED and op.outputs[0] in self._capped:
            self.caps.add(op.outputs[0])
            return self._alike(op.inputs[0], op.outputs[0])
        if name in RESHAPES:
            return self._alike(op.inputs[0], op.outputs[0], is_moved=True) if self._keeps_channels(op) else None
        if name in SUMS:
            return _all_of(self._alike(value, op.outputs[0]) for value in op.inputs[:2])
        if name == "multiply":
            return self._product(op)
        if name == "concat":
            return self._joined(self._listed(op.inputs[0]), op.outputs[0])
        if name in SPLITS:
            parts = [value for reader in self.graph.consumers(op.outputs[0]) for value in reader.outputs]
            return self._joined(parts, op.inputs[0])
        return None

    def _alike(self, one: int, other: int, is_moved: bool = False) -> Ties | None:
        """One ratio for each channel of two tensors, where their channels correspond."""
        left, right = self.nodes(one), self.nodes(other)
        is_alike = is_moved or self.graph.ranks[one] == self.graph.ranks[other]
        return [(left, right)] if left is not None and right is not None and left.size == right.size and is_alike else None

    def _product(self, op: Op) -> Ties | None:
        """The ratios of a product are those of the one operand that is no gate; a gate stays as it is."""
        gates = [value for value in op.inputs[:2] if self._is_gate(value)]
        if len(gates) != 1:
            return None
        self.fix(gates)
        (other,) = (value for value in op.inputs[:2] if value not in gates)
        return self._alike(other, op.outputs[0])

    def _is_gate(self, value: int) -> bool:
        """Whether a tensor is what something not homogeneous computed, or a weight, maybe only moved or pooled since."""
        op = self.graph.producer(value)
        while op is not None and op.plain_name in HOMOGENEOUS | RESHAPES:
            op = self.graph.producer(op.inputs[0])
        return op is None or (op.facts.cost is Cost.NOTHING and self._ties(op) is None)

    def _joined(self, parts: Sequence[int], whole: int) -> Ties | None:
        """The channels of the parts one after the other, or, where the parts lie behind one another on another axis, alike."""
        nodes, all_of = [self.nodes(value) for value in parts], self.nodes(whole)
        known = [found for found in nodes if found is not None]
        if all_of is None or not known or len(known) < len(nodes):
            return None
        if sum(found.size for found in known) == all_of.size:
            return [(np.concatenate(known), all_of)]
        return _all_of(self._alike(value, whole) for value in parts)

    def _listed(self, value: int) -> Sequence[int]:
        op = self.graph.producer(value)
        return op.inputs if op is not None and op.plain_name == "combine" else (value,)

    def _keeps_channels(self, op: Op) -> bool:
        """Whether each element stays in its channel: what lies before and behind the channel axis is as large as before."""
        before, after = (self.graph.shapes.get(value, ()) for value in (op.inputs[0], op.outputs[0]))
        if self.axis != 1:
            return bool(before) and bool(after) and before[-1] == after[-1] > 0
        if min(len(before), len(after)) < 2 or before[1] != after[1]:
            return False
        sizes = [shape[2:] for shape in (before, after)]
        return all(size > 0 for shape in sizes for size in shape) and np.prod(sizes[0]) == np.prod(sizes[1])


def _all_of(found: Iterable[Ties | None]) -> Ties | None:
    """All ties together, where there are some everywhere."""
    ties: Ties = []
    for own in found:
        if own is None:
            return None
        ties += own
    return ties
