"""What to do about what was measured: rules, each with its evidence, its reason and an action that is a line of code or an option."""

from __future__ import annotations

from .advice import Advice, Evidence, Text
from .rules import RULES, Rule, advise

__all__ = ["RULES", "Advice", "Evidence", "Rule", "Text", "advise"]
