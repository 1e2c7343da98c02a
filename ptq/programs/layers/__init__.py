"""The layers that a person would have written, one small function for each operator that becomes one.

Adding a layer is one function, and one line in the table of its file.
"""

from __future__ import annotations

from collections.abc import Callable

from ..records import Operation, Recorded
from . import activations, convolutions, linear, normalizations, pools, recurrent
from .built import Built, materialize

__all__ = ["LAYERS", "Built", "materialize"]

# Each answers ``None`` where no layer computes the same; the operation is replayed then.
LAYERS: dict[str, Callable[[Operation, Recorded], Built | None]] = {
    **activations.LAYERS,
    **convolutions.LAYERS,
    **linear.LAYERS,
    **normalizations.LAYERS,
    **pools.LAYERS,
    **recurrent.LAYERS,
}
