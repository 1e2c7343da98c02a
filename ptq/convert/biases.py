"""Biases as int8 runtimes have them: on the grid of the integer sums that they are added to."""

from __future__ import annotations

from collections.abc import Mapping

from ..layers import GridInput, QuantizedLayer

__all__ = ["round_biases"]


def round_biases(twins: Mapping[str, GridInput], on_grids: Mapping[str, list[str]]) -> None:
    """Rounds the biases of twins, in place; those of a layer whose inputs have several scales, or are no activations, stay float."""
    for name, twin in twins.items():
        if twin.input_qparams is None and name not in on_grids:
            continue
        grids = [twins[grid] for grid in on_grids[name]] if name in on_grids else [twin]
        scales = {float(grid.input_scale) for grid in grids}
        if isinstance(twin, QuantizedLayer) and len(scales) == 1:
            twin.round_bias(scales.pop())
