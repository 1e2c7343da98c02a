"""A saved quantized program and the saved float program of the same net, their layers paired in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import paddle
from paddle import nn

from quantizers.errors import MismatchError

from ...programs import Program
from ...programs.program import layer_at, run_steps
from ...programs.rounding import is_join
from ...programs.taps import NORMS, Tap, compute_taps
from ...registry import PTQRegistry
from ...util.on_channels import on_channels
from .program_facts import ChannelFactors, ProgramFacts
from .subject import Call, Facts, Float, See, answers_of, as_array

__all__ = ["ProgramSubject"]

Array = npt.NDArray[Any]
POOLS = (nn.AvgPool1D, nn.AvgPool2D, nn.AvgPool3D, nn.AdaptiveAvgPool1D, nn.AdaptiveAvgPool2D, nn.AdaptiveAvgPool3D)


class ProgramSubject:
    """See `Subject`.

    Args:
        float_program: as `load_program` opened it.
        program: the quantized one, opened with ``fold_scales=False``.
        factors: see `ProgramFacts`.

    Raises:
        MismatchError: they do not compute as many convolutions and products as each other.
    """

    def __init__(self, float_program: Program, program: Program, factors: ChannelFactors | None = None) -> None:
        self._float, self._int8 = float_program, program
        taps, others = compute_taps(float_program), compute_taps(program)
        if len(taps) != len(others):
            raise MismatchError(
                f"the float program computes {len(taps)} convolutions and products, the quantized one {len(others)}: "
                "give the float model that it was made of"
            )
        self._names = _unique([tap.name for tap in taps])
        self._float_steps = _Steps(self._names, taps, float_program)
        self._steps = _Steps(self._names, others, program)
        known = ProgramFacts(float_program, program, taps, others, factors)
        self._results: dict[str, Array] = {name: known.results[n] for n, name in enumerate(self._names) if n in known.results}
        self._facts = {name: known.facts[n] for n, name in enumerate(self._names)}
        # joins and pools may be in units of channels of their own, and are right, since what they read is replaced
        is_scaled = factors is not None and bool(self._results)
        joins = [[n for n in range(len(p._steps)) if _is_landmark(p, n, is_scaled)] for p in (float_program, program)]
        self._joins = joins if len(joins[0]) == len(joins[1]) else [[], []]

    @property
    def facts(self) -> Mapping[str, Facts]:
        """What is known of each place."""
        return self._facts

    def float_forward(self, call: Call) -> Float:
        """Runs the float program."""
        found, steps = Float(), self._float_steps
        joins = {number: f"join#{n}" for n, number in enumerate(self._joins[0])}

        def visit(number: int, read: list[Any], result: Any) -> Any:
            if number in steps.reads and (array := as_array(read[0], copy=True)) is not None:
                found.inputs[steps.reads[number]] = array
            for name in (steps.results.get(number), joins.get(number)):
                if name is not None and (array := as_array(result, copy=True)) is not None:
                    found.outputs[name] = array
            return result

        found.answers = self._answers(self._float, call, visit)
        return found

    def int8_forward(self, call: Call, see: See) -> list[Array]:
        """Runs the quantized program."""

        def visit(number: int, _read: list[Any], result: Any) -> Any:
            self._tell(number, result, see)
            return result

        return self._answers(self._int8, call, visit)

    def alone_forward(self, call: Call, floats: Float, see_input: See, see: See) -> None:
        """Runs the quantized program on the float program's tensors."""
        joins = {number: f"join#{n}" for n, number in enumerate(self._joins[1])}

        def visit(number: int, read: list[Any], result: Any) -> Any:
            name = self._steps.reads.get(number)
            if name is not None and (array := as_array(read[0])) is not None:
                factors = self._facts[name].factors
                see_input(name, array if factors is None else array / on_channels(factors, array, self._facts[name].channel_axis))
            name = self._tell(number, result, see)
            reference = floats.outputs.get(name or joins.get(number, ""))
            if reference is None or not isinstance(result, paddle.Tensor) or list(reference.shape) != list(result.shape):
                return result
            factors = self._results.get(name)
            if factors is not None:
                reference = reference * on_channels(factors, reference, self._facts[name].channel_axis)
            return paddle.to_tensor(reference).astype(result.dtype)

        self._answers(self._int8, call, visit)

    def _tell(self, number: int, result: Any, see: See) -> str:
        name = self._steps.results.get(number, "")
        array = as_array(result) if name else None
        if array is not None:
            factors = self._results.get(name)
            see(name, array if factors is None else array / on_channels(factors, array, self._facts[name].channel_axis))
        return name

    def _answers(self, program: Program, call: Call, visit: Any) -> list[Array]:
        args, kwargs = call
        inputs = list(args) or [kwargs[spec.name] for spec in self._float.input_spec]
        with paddle.no_grad():
            return answers_of([item for item in run_steps(program, inputs, visit) if isinstance(item, paddle.Tensor)])


class _Steps:
    """Numbers of the steps that read and that finish each layer, with the layer's name."""

    def __init__(self, names: list[str], taps: list[Tap], program: Program) -> None:
        makers = {}
        for number, (_, _, _, writes, _) in enumerate(program._steps):
            for place in (writes,) if isinstance(writes, int) else writes[:1]:
                makers[place] = number
        self.reads = {tap.step: name for name, tap in zip(names, taps, strict=True)}
        self.results = {makers[tap.place]: name for name, tap in zip(names, taps, strict=True)}


def _is_landmark(program: Program, number: int, activations_only: bool) -> bool:
    """Whether a step's result can be put in the place of the other program's: joins, activations but for ReLU, pools."""
    path = program._steps[number][0]
    if not path:
        return not activations_only and is_join(program, number)
    layer = layer_at(program, path)
    if not PTQRegistry.is_registered_layer(layer) or isinstance(layer, (nn.ReLU, *NORMS, *(POOLS if activations_only else ()))):
        return False
    info = PTQRegistry.layer_info(layer)
    return not info.weight_names and not info.transparent


def _unique(names: list[str]) -> list[str]:
    counts, total = Counter[str](), Counter(names)
    found = []
    for name in names:
        found.append(f"{name}#{counts[name]}" if total[name] > 1 else name)
        counts[name] += 1
    return found
