"""What ``PTQConfig.overrides`` change in a placement: which grids are not wanted, and the settings of those that stay."""

from __future__ import annotations

from dataclasses import replace

from paddle import nn

from ..config.keys import Changes, ModelKeys, Overrides
from ..sites import CALL_INPUT
from .plan import Placement

__all__ = ["place_overrides"]


def place_overrides(model: nn.Layer, overrides: Overrides, placement: Placement) -> tuple[Placement, dict[str, Changes]]:
    """The plan without the grids that are not wanted, and the settings of those that stay, by site.

    A compute layer that reads a tensor without a grid gets a grid of its own for its input.

    Raises:
        ConfigError: a key matches no layer and no activation.
    """
    if not overrides:
        return placement, {site: [] for site in placement.sites}
    keys = ModelKeys(model, overrides)
    keys.check_activations(placement.sites)
    readers: dict[str, list[str]] = {}
    for layer, sites in placement.inputs.items():
        for site in sites:
            readers.setdefault(site, []).append(layer)
    wanted = {site: keys.changes_of_site(site, readers.get(site, ())) for site in placement.sites}
    inputs = {layer: sites for layer, sites in placement.inputs.items() if all(wanted[site] is not None for site in sites)}
    used = {site for sites in inputs.values() for site in sites}
    # a grid before one call of a layer is of no use once the layer has one range for all its calls
    changes = {site: found for site, found in wanted.items() if found is not None and (site in used or not site.endswith(CALL_INPUT))}
    return replace(placement, sites={site: value for site, value in placement.sites.items() if site in changes}, inputs=inputs), changes
