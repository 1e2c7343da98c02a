"""From a float model to one whose layers are on grids while it is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.quantization import QuantConfig

from quantizers.errors import AlreadyQuantizedError, ConfigError, ModelError

from ..calibration.hooks import remove_hooks
from ..calibration.run import calibrate
from ..calibration.state import LayerState, State, has_data, state_of
from ..convert.apply import swapped
from ..imperative import ImperativePTQ
from ..layers import ActivationGrid
from ..passes.fold_batch_norm import TRANSPOSED
from ..registry import PTQRegistry
from ..util.messages import last_line
from .config import QATConfig, qat_config
from .functions import functions_of, optimizer_of, start_weights
from .grids import ACTIVATIONS, WEIGHTS, FunctionGrid, GridInTraining, WeightFunctionGrid, grid_settings, made_function
from .layers import ActivationInTraining, LayerInTraining, in_training
from .names import stays_float
from .norms import bare_norm
from .paddle_config import from_paddle

__all__ = ["is_prepared", "joint_optimizer", "prepare", "settings_of_training"]

_SETTINGS = "_qat_config"


def prepare(
    model: nn.Layer,
    config: Any = None,
    *,
    data: Iterable[Any] | None = None,
    input_spec: Sequence[Any] | None = None,
    inplace: bool = False,
    max_batches: int | None = None,
) -> nn.Layer:
    """Makes a model ready for quantization-aware training: its layers round weights and inputs, with straight-through gradients.

    Args:
        model: a float model in dynamic mode, in train or eval mode, in which it stays.  A layer with ``skip_quant = True`` stays float.
        config: a `QATConfig`; a `PTQConfig`, whose rules give the first ranges; or a `paddle.quantization.QuantConfig`.
        data: batches as `ptq.calibrate` takes them, labels behind the inputs dropped, that give the first ranges.  Without them each
            range starts from the first batch of training.
        input_spec: `InputSpec`s or example tensors of ``forward``'s arguments.  The model's dataflow is needed for placement ``full`` and
            to find batch norms; it comes from this or from ``data``.  Without both, batch norms are folded when the model is converted.
        inplace: prepare ``model`` itself rather than a copy.
        max_batches: of ``data``.

    Returns:
        The model to train, by any optimizer over its ``parameters()``, made after this.

    Raises:
        AlreadyQuantizedError: the model was prepared or converted before.
        ConfigError: a setting does not fit the model, or a user's function rounds to no grid that integers could have.
        ModelError, TraceError, CalibrationError: as `ImperativePTQ.quantize` and `ptq.calibrate`.
    """
    if isinstance(model, nn.Layer) and is_prepared(model):
        raise AlreadyQuantizedError(f"{type(model).__name__} is prepared for training already; convert it, or prepare the float model")
    settings = _settings(config, model)
    has_graph = data is not None or input_spec is not None
    if not has_graph:
        _check_without_graph(settings)
    if not inplace:
        model = _copied(model)
    settings = stays_float(model, settings)
    modes = {name: layer.training for name, layer in model.named_sublayers(include_self=True)}
    before = _Before(model)
    model.eval()
    fuse = settings.fuse is not None and has_graph
    model = ImperativePTQ(settings.ptq).quantize(model, inplace=True, fuse=fuse, input_spec=input_spec)
    if data is not None:
        calibrate(model, data, max_batches, progress=False)
    prepared = _made_trainable(model, settings, before)
    _restore_modes(prepared, modes)
    object.__setattr__(prepared, _SETTINGS, settings)
    return prepared


def is_prepared(model: nn.Layer) -> bool:
    """Whether the model has layers in training."""
    return any(isinstance(layer, (LayerInTraining, ActivationInTraining)) for layer in model.sublayers(include_self=True))


def settings_of_training(model: nn.Layer) -> QATConfig:
    """What a model was prepared with; raises ``ModelError`` where it was not."""
    settings = getattr(model, _SETTINGS, None)
    if not isinstance(settings, QATConfig):
        raise ModelError("this needs the model that ptq.qat.prepare returned, not a part of it")
    return settings


def joint_optimizer(model: nn.Layer, make: Callable[[list[paddle.Tensor]], Any]) -> Any:
    """An optimizer of a prepared model: what ``make`` makes of its parameters, and ``optimizer_func`` of those of the user's functions.

    Args:
        model: from `prepare`.
        make: makes a `paddle.optimizer.Optimizer` of a list of parameters, such as ``lambda p: Momentum(0.01, parameters=p)``.

    Raises:
        ModelError: the model is not from `prepare`.
        ConfigError: ``optimizer_func`` makes no optimizer.
    """
    return optimizer_of(model, make, settings_of_training(model).optimizer_func)


class _Before:
    """Parameters of layers, and batch norms, as they are before batch norms are folded."""

    def __init__(self, model: nn.Layer) -> None:
        self.layers = dict(model.named_sublayers(include_self=True))
        self.parameters = {name: dict(layer._parameters) for name, layer in self.layers.items()}

    def unfold(self, layer: nn.Layer, name: str) -> None:
        """Gives a layer its own weight and bias again."""
        layer._parameters.clear()
        for key, parameter in self.parameters[name].items():
            layer._parameters[key] = parameter
        if "bias" not in layer._parameters:
            vars(layer).setdefault("bias", None)


def _settings(config: Any, model: nn.Layer) -> QATConfig:
    if isinstance(config, QuantConfig):
        return from_paddle(config, model)
    return qat_config(config)


def _check_without_graph(settings: QATConfig) -> None:
    needs = "placement 'full'" if settings.ptq.placement == "full" else f"fuse={settings.fuse!r}"
    if settings.ptq.placement == "full" or settings.fuse in ("training", "before"):
        raise ConfigError(f"{needs} needs the model's dataflow: pass data or input_spec to prepare")


def _made_trainable(model: nn.Layer, settings: QATConfig, before: _Before) -> nn.Layer:
    state = state_of(model)
    if state is None:
        raise TypeError("the engine left no state")
    layers = {name: layer for name, layer in model.named_sublayers(include_self=True) if name in state.layers}
    for layer in model.sublayers(include_self=True):
        remove_hooks(layer)
    maker = _Maker(model, state, settings, before)
    wanted = sorted(layers.items(), key=lambda item: not isinstance(item[1], ActivationGrid))  # layers refer to the grids that they read
    made = {layer: maker.make(name, layer, state.layers[name]) for name, layer in wanted if state.layers[name].is_wanted}
    made |= maker.float_layers_with_norms(made)
    start_weights(made.values())
    for own in state.layers.values():
        own.release()  # what calibration kept has been made ranges
    prepared = swapped(model, made)
    state.attach(prepared)
    prepared.register_forward_pre_hook(FirstCall(state), with_kwargs=True)
    return prepared


class FirstCall:
    """Forward pre-hook of a model in training: remembers its first call, for the shapes that a later save needs."""

    def __init__(self, state: State) -> None:
        self.state = state

    def __call__(self, _model: nn.Layer, args: tuple[Any, ...], kwargs: Any = None) -> None:
        """Called by Paddle before the model's ``forward``."""
        if paddle.in_dynamic_mode() and self.state.seen.first_spec is None:
            self.state.seen.begin_batch(args, kwargs or {})


class _Maker:
    def __init__(self, model: nn.Layer, state: State, settings: QATConfig, before: _Before) -> None:
        self.model, self.state, self.settings, self.before = model, state, settings, before
        self.kept_folded = settings.fuse == "before"
        self.grids: dict[int, Any] = {}
        self.by_site: dict[str, ActivationInTraining] = {}
        # a tied weight has the grid of a compute layer among those that share it
        for layer in sorted(model.sublayers(include_self=True), key=PTQRegistry.is_weight_only_layer):
            own = getattr(layer, "_quant_config", None)
            if isinstance(own, LayerState) and own.is_wanted and not isinstance(layer, ActivationGrid):
                for name, weight in PTQRegistry.layer_info(layer).weights_of(layer).items():
                    if id(weight) not in self.grids:
                        self.grids[id(weight)] = self._weight_grid(layer, own, name, weight)

    def make(self, name: str, layer: nn.Layer, own: LayerState) -> nn.Layer:
        """The layer in training that takes the place of a float layer or an activation's grid."""
        if isinstance(layer, ActivationGrid):
            self.by_site[own.site] = ActivationInTraining(self._input_grid(layer, own))
            return self.by_site[own.site]
        grids = {key: self.grids[id(weight)] for key, weight in PTQRegistry.layer_info(layer).weights_of(layer).items()}
        norm = self._norm(name, layer)
        if norm is not None:
            self.before.unfold(layer, name)
        preprocess = functions_of(self.settings, layer)
        has_input = own.scheme.input is not None
        made = in_training(
            layer,
            self._input_grid(layer, own) if has_input and not own.input_sites else None,
            grids,
            norm=norm,
            folds=self.settings.fuse == "training",
            preprocess_input=preprocess[0] if has_input else None,
            preprocess_weight=preprocess[1],
            read_grids=[self.by_site[site] for site in own.input_sites],
        )
        made._quant_config = own
        return made

    def float_layers_with_norms(self, made: Mapping[nn.Layer, nn.Layer]) -> dict[nn.Layer, nn.Layer]:
        """Layers that stay float, and whose batch norm the engine has folded, with it again: it is trained like any other."""
        found: dict[nn.Layer, nn.Layer] = {}
        layers = dict(self.model.named_sublayers(include_self=True))
        for name in self.state.traced.pairs:
            layer = layers[name]
            if layer not in made and (norm := self._norm(name, layer)) is not None:
                self.before.unfold(layer, name)
                found[layer] = in_training(layer, None, {}, norm=norm)
        return found

    def _norm(self, name: str, layer: nn.Layer) -> nn.Layer | None:
        norm = self.state.traced.pairs.get(name)
        if norm is None or self.kept_folded:
            return None
        if isinstance(layer, TRANSPOSED) and layer._groups > 1:  # its channels share scales: it stays folded
            return None
        return bare_norm(self.before.layers[norm])

    def _input_grid(self, layer: nn.Layer, own: LayerState) -> GridInTraining:
        rule, place = own.in_act_quantizer, own.in_act_quantizer.name
        if self.settings.act_quantize_func is not None and not isinstance(layer, ActivationGrid):
            return FunctionGrid(copy.deepcopy(rule), place, made_function(self.settings.act_quantize_func, layer))
        kind = ACTIVATIONS[self.settings.activations]
        grid = kind(_blank(rule), place, **grid_settings(kind, self.settings.moving_rate, self.settings.window_size))
        if has_data(rule):
            rule.cal_thresholds()
            (qparams,) = rule.qparams
            grid.start(qparams)
        return grid

    def _weight_grid(self, layer: nn.Layer, own: LayerState, name: str, weight: paddle.Tensor) -> Any:
        place = f"{own.wt_quantizer.name} '{name}'"
        axis = PTQRegistry.layer_info(layer).quant_axis or 0
        if self.settings.weight_quantize_func is not None:
            function = made_function(self.settings.weight_quantize_func, layer)
            return WeightFunctionGrid(_blank(own.wt_quantizer), place, axis, function)
        kind = WEIGHTS[self.settings.weights]
        settings = grid_settings(kind, self.settings.moving_rate, self.settings.window_size)
        return kind(_blank(own.wt_quantizer), place, weight.shape, axis, **settings)


def _blank(rule: Any) -> Any:
    """A copy of a rule without data."""
    rule = copy.deepcopy(rule)
    rule.reset()
    return rule


def _restore_modes(model: nn.Layer, modes: Mapping[str, bool]) -> None:
    """Every layer in the mode that it had; what is new in that of the layer that holds it."""
    for name, layer in model.named_sublayers(include_self=True):
        place = name
        while place not in modes:
            place = place.rpartition(".")[0]
        layer.training = modes[place]


def _copied(model: nn.Layer) -> nn.Layer:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # the user's classes: anything may come out of it
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {last_line(error)}); pass inplace=True to prepare it itself"
        ) from error
