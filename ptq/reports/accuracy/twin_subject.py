"""A converted model in memory and the float model that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from quantizers import QParams
from quantizers.errors import ModelError

from ...calibration.hooks import remove_hooks
from ...calibration.state import LayerState, state_of
from ...convert.apply import as_float
from ...graph.interception import Watcher, intercept
from ...graph.operators import OPERATORS, Cost
from ...imperative import ImperativePTQ
from ...layers import QuantizedLayer
from ...layers.gridded import GRIDS, ActivationGrids, grids_of, is_gridded, on_input_grids, ungridded, ungridded_class
from ...registry import PTQRegistry
from ...sites import ROOT
from ...util.modes import eval_mode
from ...util.nests import map_tensors, tensors_in
from ...util.on_channels import on_channels
from ..coverage.coverage import call_to_trace
from .quick_rounding import make_quick
from .subject import Call, Facts, Float, See, answers_of, as_array
from .watchers import Comparing, Forcing, Noting

__all__ = ["TwinSubject", "float_of"]

Array = npt.NDArray[Any]


def float_of(model: nn.Layer, float_model: nn.Layer | None = None) -> nn.Layer:
    """The float model of a converted one, its layers under the same names, batch norms folded alike; both are left alone.

    Raises:
        ModelError: it is not known, and no ``float_model`` is given to make it of.
    """
    try:
        return as_float(model)
    except ModelError:
        state = state_of(model)
        if float_model is None or state is None:
            raise
    args, kwargs = call_to_trace(model, None)
    is_fused = bool(state.traced.folded)
    prepared = ImperativePTQ(state.config).quantize(float_model, fuse=is_fused, input_spec=list(args) if args and not kwargs else None)
    for layer in prepared.sublayers(include_self=True):
        remove_hooks(layer)
    return prepared


class TwinSubject:
    """See `Subject`.

    Args:
        model: what `ImperativePTQ.convert` returned, or a copy or pickle of it.
        floats: what `float_of` returned for it; found by itself when ``None``.

    Raises:
        ModelError: the float model is not known.
    """

    def __init__(self, model: nn.Layer, floats: nn.Layer | None = None) -> None:
        self._base = ungridded_class(model)
        self._sites = grids_of(model)
        self._float, self._int8 = ungridded(float_of(model) if floats is None else floats), ungridded(model)
        self._grids: ActivationGrids | None = self._int8._sub_layers[GRIDS] if is_gridded(model) else None
        make_quick(self._int8)
        self._float_layers = dict(self._float.named_sublayers(include_self=True))
        self._twins: dict[str, Any] = {n: t for n, t in model.named_sublayers(include_self=True) if isinstance(t, QuantizedLayer)}
        self._results = {name: np.asarray(twin.result_factors) for name, twin in self._twins.items() if np.ndim(twin.result_factors)}
        state = state_of(model)
        self._scaled_sites = {} if state is None else state.scaled_sites
        self._facts: dict[str, Facts] = {}
        self._copies = True

    @property
    def facts(self) -> Mapping[str, Facts]:
        """What is known of each place."""
        return self._facts

    def float_forward(self, call: Call) -> Float:
        """Runs the float model; places are known after the first time."""
        found = Float()
        watcher = Noting(found, self._is_compute, self._copies)
        answer = self._run(self._float, watcher, call, is_gridded=False)
        if not self._facts:  # the first forward tells whether the model changes tensors in place
            self._copies = watcher.changed
        found.answers = answers_of(tensors_in(answer))
        if not self._facts:
            self._facts = {site or ROOT: self._facts_of(site) for site in found.outputs if self._is_compute(site, site.split("@")[0])}
        for values in (found.inputs, found.outputs):
            if "" in values:
                values[ROOT] = values[""]
        return found

    def int8_forward(self, call: Call, see: See) -> list[Array]:
        """Runs the quantized model."""
        answer = self._run(self._int8, Comparing(self._grids, self._teller(see)), call)
        return answers_of(tensors_in(answer))

    def alone_forward(self, call: Call, floats: Float, see_input: See, see: See) -> None:
        """Runs the quantized model on the float model's tensors."""

        def tell_input(site: str, value: Any) -> None:
            array = as_array(value)
            if array is not None:
                known = self._facts.get(site or ROOT)
                see_input(
                    site or ROOT,
                    array if known is None or known.factors is None else array / on_channels(known.factors, array, known.channel_axis),
                )

        def in_twin_units(site: str, array: Array) -> Array:
            if site in self._scaled_sites:
                return np.asarray(array * self._scaled_sites[site])
            factors = self._results.get(site.split("@")[0])
            return array if factors is None else array * on_channels(factors, array, self._facts[site or ROOT].channel_axis)

        watcher = Forcing(self._grids, self._teller(see), tell_input, floats, in_twin_units, self._passes_on)
        self._run(self._int8, watcher, call)

    def _teller(self, see: See) -> Any:
        def tell(site: str, value: Any) -> None:
            place = site or ROOT
            array = as_array(value) if place in self._facts else None
            if array is not None:
                factors = self._results.get(site.split("@")[0])
                see(place, array if factors is None else array / on_channels(factors, array, self._facts[place].channel_axis))

        return tell

    def _run(self, model: nn.Layer, watcher: Watcher, call: Call, is_gridded: bool = True) -> Any:
        args, kwargs = map_tensors(lambda tensor: tensor, call)
        grids = self._grids if is_gridded else None
        with eval_mode(model), paddle.no_grad():
            if grids is not None:
                args, kwargs = on_input_grids(self._base, grids, args, kwargs)
            with intercept(model, watcher):
                answer = model(*args, **kwargs)
            return answer if grids is None else grids.on_grid(ROOT, answer)

    def _is_compute(self, site: str, name: str) -> bool:
        layer = self._float_layers.get(name)
        if layer is not None and PTQRegistry.is_registered_layer(layer):
            info = PTQRegistry.layer_info(layer)
            return bool(info.weight_names) and not info.weight_only
        operation = site.rpartition(".")[2].partition("#")
        return bool(operation[1]) and operation[0] in OPERATORS and OPERATORS[operation[0]].cost is not Cost.NOTHING

    def _passes_on(self, site: str) -> bool:
        layer = self._float_layers.get(site.split("@")[0])
        if layer is None:
            return site.rpartition(".")[2].partition("#")[0] == "relu"
        return isinstance(layer, nn.ReLU) or (PTQRegistry.is_registered_layer(layer) and PTQRegistry.layer_info(layer).transparent)

    def _facts_of(self, site: str) -> Facts:
        name = site.split("@")[0]
        layer, twin = self._float_layers.get(name), self._twins.get(name)
        if layer is None:
            return Facts(site.rpartition(".")[2].partition("#")[0])
        info = PTQRegistry.layer_info(layer)
        first = next(iter(info.weights_of(layer)), None)
        weight = None if first is None else getattr(layer, first).astype("float32").numpy()
        is_conv = weight is not None and weight.ndim > 2
        known = Facts(info.layer.__name__, weight, axis=info.quant_axis or 0, channel_axis=1 if is_conv else -1)
        return known if twin is None or weight is None or first is None else self._of_twin(known, twin, first, site)

    def _of_twin(self, known: Facts, twin: Any, weight: str, site: str) -> Facts:
        own = twin._quant_config if isinstance(getattr(twin, "_quant_config", None), LayerState) else None
        grid, rounding = self._grid_of(twin, own, site)
        rounded = getattr(twin, weight).astype("float32").numpy() / np.asarray(twin.weight_factors, dtype=np.float32)
        return Facts(
            known.op,
            known.weight,
            rounded,
            known.axis,
            getattr(twin, "_weight_bits", None),
            grid,
            np.asarray(twin.input_factors) if np.ndim(twin.input_factors) else None,
            known.channel_axis,
            type(rounding.in_act_quantizer).__name__ if rounding is not None else "",
            type(own.wt_quantizer).__name__ if own is not None else "",
        )

    def _grid_of(self, twin: Any, own: LayerState | None, site: str) -> tuple[QParams | None, LayerState | None]:
        """The grid that the layer's input lies on, and the state with the rule that chose it."""
        if twin.input_qparams is not None:
            return twin.input_qparams, own
        places = [f"{site}:input", *(own.input_sites if own is not None else [])]
        grid: Any = next((self._sites[place] for place in places if place in self._sites), None)
        return (None, None) if grid is None else (grid.input_qparams, getattr(grid, "_quant_config", None))
