"""From a trained model to the engine's twins, on the grids that it was trained on."""

from __future__ import annotations

import copy
from typing import Any

import paddle
from paddle import nn

from quantizers import BaseQuantizer, QParams
from quantizers.errors import ModelError, TraceError

from ..calibration.state import LayerState, State, state_of
from ..convert.apply import apply, swapped, trial_of
from ..convert.biases import round_biases
from ..convert.plan import Plan, on_grids_of
from ..convert.target import LeftOut
from ..convert.ties import tie_weights, warn_of_float_uses
from ..graph.tracing import trace
from ..layers import ActivationGrid, GridInput, IntegerWeight, QuantizedActivation
from ..layers.gridded import is_gridded
from ..passes.fold_batch_norm import TRANSPOSED
from ..passes.fuse import fuse_traced
from ..registry import PTQRegistry
from ..util.messages import warn
from ..util.modes import eval_mode
from .final import final_layer
from .layers import ActivationInTraining, LayerInTraining
from .prepare import FirstCall, is_prepared, settings_of_training
from .preprocess import keep_preprocess
from .scales import multiply_channels, norm_factor

__all__ = ["convert"]


def convert(model: nn.Layer, *, inplace: bool = False, keep_float: bool = True) -> nn.Layer:
    """The quantized model of a trained one: integers by the grids that were trained, batch norms folded.

    Its answers are, to the bit, those of the trained model in eval mode without gradients; where batch norms are found and folded only now,
    they are the same but for rounding.

    Args:
        model: from `prepare`, trained.
        inplace: convert ``model`` itself rather than a copy, so that it cannot be trained on.
        keep_float: as in `ImperativePTQ.convert`; the float model is the one with the trained weights, not rounded.

    Returns:
        A model for `ImperativePTQ.save_quantized_model`, `ptq.coverage` and all that takes a converted one, in eval mode.

    Raises:
        ModelError: the model is not from `prepare`.
        NonFiniteError: training has made a weight or a range NaN or Inf.
        ConfigError: a range was never set, for no batch reached it, or a user's function has no grid any more.
    """
    state = state_of(model) if isinstance(model, nn.Layer) and is_prepared(model) else None
    if state is None:
        raise ModelError("convert needs a model that ptq.qat.prepare returned, and that is not converted yet")
    settings = settings_of_training(model)
    if not inplace:
        model = copy.deepcopy(model)
        state = state_of(model)
        if state is None:
            raise TypeError("a copy lost its state")
    _drop_hook(model)
    trained = _Trained(model, state)
    with eval_mode(model), paddle.no_grad():
        trained.read()
    model = swapped(model, trained.floats)
    model.eval()
    state.attach(model)
    if settings.fuse == "convert":
        trained.fold_traced(model)
    return _with_twins(model, state, trained, keep_float)


def _drop_hook(model: nn.Layer) -> None:
    for key, hook in list(model._forward_pre_hooks.items()):
        if isinstance(hook, FirstCall):
            del model._forward_pre_hooks[key]
            model._forward_pre_hooks_with_kwargs_flag.pop(key, None)


class _Trained:
    """What was trained, read off a model: float layers, integers of weights, grids of inputs.

    Attributes:
        floats: layer in training to float layer.
        names: of the float layers.
    """

    def __init__(self, model: nn.Layer, state: State) -> None:
        self.state = state
        self.layers = {
            name: layer
            for name, layer in model.named_sublayers(include_self=True)
            if isinstance(layer, (LayerInTraining, ActivationInTraining))
        }
        self.floats: dict[nn.Layer, nn.Layer] = {}
        self.weights: dict[str, list[IntegerWeight]] = {}
        self.grids: dict[str, QParams] = {}
        self.preprocess: dict[str, Any] = {}
        self.unreached: list[str] = []

    def read(self) -> None:
        """Reads all layers; the model is left as it is."""
        for name, layer in self.layers.items():
            if isinstance(layer, ActivationInTraining):
                self._read_grid(name, layer.input_grid)
                self.floats[layer] = ActivationGrid()
            else:
                self._read_layer(name, layer)

    def _read_grid(self, name: str, grid: Any) -> bool:
        if not getattr(grid, "is_ready", True):
            self.unreached.append(name)
            return False
        self.grids[name] = grid.qparams()
        return True

    def _read_layer(self, name: str, layer: LayerInTraining) -> None:
        inward = layer._sub_layers.get("input_grid")
        self.floats[layer], weights = final_layer(layer)
        if not weights or (inward is not None and not self._read_grid(name, inward)):
            return
        self.weights[name] = weights
        self.preprocess[name] = vars(layer)["preprocess_input"]

    def fold_traced(self, model: nn.Layer) -> None:
        """Folds the batch norms that follow layers and were not taken into them, for there was no dataflow when training began."""
        if self.state.traced.pairs or self.state.seen.input_spec is None or self.state.traced.graph is not None:
            return
        args, kwargs = self.state.seen.input_spec
        layers = dict(model.named_sublayers(include_self=True))
        try:
            graph = trace(model, args, kwargs)
        except TraceError as error:
            warn(f"{error}. Batch norms stay layers of their own, in float")
            return
        factors = {name: norm_factor(layer) for name, layer in layers.items() if hasattr(layer, "_variance")}
        pairs = fuse_traced(model, graph, skip=lambda layer: isinstance(layer, TRANSPOSED) and layer._groups > 1)
        for name, norm in pairs:
            if name in self.weights:
                self.weights[name] = [multiply_channels(layers[name], weight, factors[norm]) for weight in self.weights[name]]
            self.state.layers.pop(norm, None)
        self.state.traced.folded, self.state.traced.pairs = [norm for _, norm in pairs], dict(pairs)
        self.state.traced.graph, self.state.traced.untraced = graph, ""


def _with_twins(model: nn.Layer, state: State, trained: _Trained, keep_float: bool) -> nn.Layer:
    layers = {name: layer for name, layer in model.named_sublayers(include_self=True) if name in state.layers}
    states = {name: copy.deepcopy(state.layers[name]) for name in layers}
    reached = {name: layer for name, layer in layers.items() if name in trained.weights or name in trained.grids}
    plan = Plan(reached, states, on_grids_of(model, states, reached), trained.unreached, "any", LeftOut())
    twins = {name: _twin(name, layer, states[name], trained) for name, layer in reached.items()}
    replaced = {layer: twins[name] for name, layer in reached.items()}
    names = {layer: name for name, layer in reached.items()}
    tie_weights(replaced, names)
    warn_of_float_uses(trial_of(model, reached, twins), replaced, names)
    if is_gridded(model):
        round_biases(twins, plan.on_grids)
    if plan.unreached:
        warn(f"left float, since no batch reached them: {', '.join(plan.unreached)}")
    return apply(model, state, plan, twins, (), keep_float)


def _twin(name: str, layer: nn.Layer, own: LayerState, trained: _Trained) -> GridInput:
    grid = trained.grids.get(name)
    if grid is not None:
        own.in_act_quantizer = TrainedRange(grid, own.in_act_quantizer)
    if isinstance(layer, ActivationGrid):
        if grid is None:
            raise TypeError(f"{name} has no grid")
        twin: Any = QuantizedActivation.from_grid(grid)
    else:
        weights = trained.weights[name]
        own.wt_quantizer = TrainedRange(weights[0].qparams, own.wt_quantizer)
        twin = PTQRegistry.twin_class(layer).from_float(layer, grid, *weights)  # type: ignore[attr-defined]
        keep_preprocess(twin, trained.preprocess.get(name))
    twin._quant_config = own
    result: GridInput = twin
    return result


class TrainedRange(BaseQuantizer):
    """Stands where a rule stood: the grid was trained."""

    def __init__(self, grid: QParams, rule: BaseQuantizer) -> None:
        super().__init__(grid.num_bits)
        self.name, self.quant_axis, self.is_weight, self.nonnegative = rule.name, rule.quant_axis, rule.is_weight, rule.nonnegative
        self.thresholds = [grid.threshold]
        self.sampled = True
        self._trained = grid

    def sample_data(self, layer: Any, tensors: Any) -> None:
        """Nothing: what was trained does not change."""

    def cal_thresholds(self) -> None:
        """Nothing: they are known."""

    def _grid(self, index: int, threshold: Any) -> QParams:
        del index, threshold
        return self._trained
