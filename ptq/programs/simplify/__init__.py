"""Passes over a program's records; each leaves the program computing the same."""

from __future__ import annotations

from ..records import Recorded
from .affine import absorb_into_readers, absorb_into_writers
from .constants import fold_constants
from .conv1d import restore_conv1d
from .identities import remove_dead, remove_identities
from .linear import find_linear

__all__ = ["simplify"]


def simplify(recorded: Recorded, fold_scales: bool = True) -> None:
    """All passes, in the order in which one makes room for the next.

    Args:
        recorded: the program; it is changed.
        fold_scales: whether parameters that scale what layers compute go into the layers' weights, which rounds the weights anew.
    """
    fold_constants(recorded)
    remove_identities(recorded)
    find_linear(recorded)
    absorb_into_writers(recorded, fold_scales)
    if fold_scales:
        absorb_into_readers(recorded)
    restore_conv1d(recorded)
    remove_dead(recorded)
