"""The state of one operation, and why it is not int8."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...graph.dataflow import Graph, Op
from ...graph.operators import Cost
from ...placement.plan import Plan
from .facts import Facts
from .record import FLOAT, FOLDED, INT8, OBSERVED, TRANSPARENT
from .work import Work

__all__ = ["Judge"]

Verdict = tuple[str, str]


class Judge:
    """Gives every work of one traced model its state and the reason for it."""

    def __init__(self, graph: Graph, plan: Plan, facts: Facts, works: Sequence[Work]) -> None:
        self.graph, self.plan, self.facts = graph, plan, facts
        self.max_bits = plan.target.max_bits
        self._of_value = {value: work for work in works for op in work.ops for value in op.outputs if not plan.is_weight(value)}
        self._of_value |= {value: work for work in works if work.core is not None for value in work.results}

    def __call__(self, work: Work) -> Verdict:
        """The state, and the reason why it is neither int8 nor unchanged by quantization."""
        core = work.core
        if core is None:
            is_folded = work.call is not None and work.call.layer in self.facts.folded
            return (FOLDED, "") if is_folded else (TRANSPARENT, "")
        if work.is_compute or (work.call is not None and self.facts.has_weight(work.call.layer)):
            reason = self._why_float(work, core)
            return (FLOAT, reason) if reason else (INT8, "")
        if self._only_moves(core):
            return TRANSPARENT, ""
        if work.name in self.facts.on_integers:
            return INT8, ""
        if work.name in self.facts.shifted:
            return TRANSPARENT, "part of the zero point of its grid"
        merged = self._merged_into(core) or self._computed_with(core)
        if merged:
            return TRANSPARENT, f"merged into {merged}"
        reason = self._why_not_on_integers(work, core)
        if not reason:
            return INT8, ""
        on_grid = any(self._bits(value) is not None for value in work.results)
        is_observed = on_grid or (work.call is not None and self.facts.is_observed(work.call.layer))
        return (OBSERVED if is_observed else FLOAT), reason

    def _why_float(self, work: Work, core: Op) -> str:
        """Why a convolution or product is computed in float; empty when it is int8."""
        if work.call is None or not self.facts.has_weight(work.call.layer):
            return self._why_functional_float(core)
        name = work.call.layer
        weight = self.facts.weight_bits(name)
        if weight is None:
            return self.facts.why_float(name)
        if weight > self.max_bits:
            return self._too_wide(weight, "weight")
        if self.facts.is_recurrent(name):
            return "its state from step to step is float; its weights are integers"
        if self.facts.is_weight_only(name):
            return ""
        reason = self.facts.why_float_input(name)
        if reason:
            return reason
        own = self.facts.own_grid(name, work.name)
        return self._too_wide(own) if own is not None else self._why_off_grid(work.call.inputs[:1])

    def _why_functional_float(self, core: Op) -> str:
        """The same for one that has its weight, if any, from elsewhere."""
        operands = self._operands(core)
        if any(self.plan.is_weight(value) for value in operands):
            return self.facts.why_unregistered(core.scope)
        if core.facts.cost is not Cost.PRODUCT:
            return f"no supported runtime has an int8 kernel for {core.plain_name}"
        return self._why_off_grid(operands[:2])

    def _why_not_on_integers(self, work: Work, core: Op) -> str:
        """Why an operation that is no convolution or product is computed in float; empty when a runtime can use integers."""
        name = core.plain_name
        if not any(value in self.graph.floating for value in core.outputs):
            return "its result is no real number"
        if core.facts.is_norm:
            return "it was not folded: fuse=False, or no layer before it feeds it alone"
        if core.facts.takes_masks:
            return "its input stays float, since a mask in it may be infinite"
        if name in self.plan.target.on_integers and self.facts.converted:
            return "it is made of kernels for integers only between two grids of one range each"
        if name not in self.plan.target.kernels:
            return f"no supported runtime has an int8 kernel for {name}"
        operands = self._operands(core) if core.facts.joins else core.inputs[:1]
        if any(self.plan.is_weight(value) for value in operands):
            return "one operand is a parameter or a number, which has no grid"
        readers = [reader for value in work.results for reader in self.graph.consumers(value)]
        if readers and all(reader.facts.takes_masks for reader in readers):
            return "its result feeds a softmax, whose input stays float"
        if self.facts.placement == "full" and self.plan.is_float_sum(core):
            return "a sum of float tensors stays float: on integers it would take two conversions more"
        results = sorted(self.plan.settled(work.results)) if self.plan.target.results else ()
        return self._why_off_grid(operands) or self._why_off_grid(results, "result")

    def _operands(self, op: Op) -> list[int]:
        """The floating-point operands, those of a list included."""
        return [value for read in op.inputs for value in self.graph.listed(read) if value in self.graph.floating]

    def _bits(self, value: int) -> int | None:
        return self.facts.grids.get(self.plan.site_of.get(self.plan.origin(value), ""))

    def _why_off_grid(self, values: Iterable[int], side: str = "input") -> str:
        """What is wrong with the first of the values that is on no grid of at most `max_bits`; empty when there is none."""
        for value in values:
            bits = self._bits(value)
            if bits is None and self.facts.placement == "compute":
                return "placement 'compute' puts it on no grid; use placement='full'"
            if bits is None:
                return f"its input from {self._source(value)} is on no grid" if side == "input" else "its result is on no grid"
            if bits > self.max_bits:
                return self._too_wide(bits, side)
        return ""

    def _too_wide(self, bits: int, side: str = "input") -> str:
        return "" if bits <= self.max_bits else f"its {side} has {bits} bits, runtimes compute with {self.max_bits}"

    def _source(self, value: int) -> str:
        work = self._of_value.get(self.plan.origin(value))
        return "the model's input" if work is None or work.core is None else work.core.plain_name

    def _only_moves(self, core: Op) -> bool:
        if core.facts.copies:
            return any(value in self.graph.floating for value in core.outputs)
        return core.moves

    def _merged_into(self, core: Op) -> str:
        """The name of the work that a runtime merges this activation with, empty when there is none."""
        if core.plain_name not in self.plan.target.merged or self.plan.settled(core.inputs[:1]) == set(core.inputs[:1]):
            return ""
        work = self._of_value.get(core.inputs[0])
        if work is None or work.core is None or not (work.is_compute or work.core.plain_name in self.plan.target.results):
            return ""
        return work.name

    def _computed_with(self, core: Op) -> str:
        """The name of the work before it that a runtime computes this operation in one with; empty when there is none."""
        fused = (value for value in core.inputs if self._bits(value) is None and self.plan.is_fused(value, core))
        return next((work.name for value in fused if (work := self._of_value.get(value)) is not None), "")
