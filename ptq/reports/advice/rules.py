"""The table of rules; a new rule is a function and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import inputs, speed, weights, whole
from .advice import Advice, Evidence

__all__ = ["RULES", "Rule", "advise"]


@dataclass(frozen=True)
class Rule:
    """A rule: its name, and the function that finds what it is about."""

    name: str
    find: Callable[[Evidence], Iterator[Advice]]


RULES: tuple[Rule, ...] = (
    Rule("worst-layer", whole.worst_layer),
    Rule("weight-bits", weights.weight_bits),
    Rule("weight-channels", weights.weight_channels),
    Rule("weight-outliers", weights.weight_outliers),
    Rule("range-outliers", inputs.range_outliers),
    Rule("channels-uneven", inputs.channels_uneven),
    Rule("clipped-by-rule", inputs.clipped_by_rule),
    Rule("calibration-narrow", inputs.calibration_narrow),
    Rule("unused-negatives", inputs.unused_negatives),
    Rule("many-layers", whole.many_layers),
    Rule("few-samples", whole.few_samples),
    Rule("no-int8-kernel", speed.no_int8_kernel),
    Rule("slower-than-float", speed.slower_than_float),
    Rule("float-by-placement", whole.float_by_placement),
)


def advise(evidence: Evidence) -> tuple[Advice, ...]:
    """What all rules say, what weighs most first; equal ones in the order of the table."""
    return tuple(sorted((found for rule in RULES for found in rule.find(evidence)), key=lambda found: -found.weight))
