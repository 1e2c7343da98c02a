"""Which layers can be quantized: their argument names, the channel axis of their weight, and their quantized twin."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

__all__ = ["LayerInfo", "PTQRegistry", "input_argument"]


def input_argument(layer: type) -> str:
    """Name of the first argument of the layer's ``forward``: its activation."""
    return next(name for name in inspect.signature(layer.forward).parameters if name != "self")  # type: ignore[attr-defined]


class LayerInfo:
    """What the engine must know of one layer class.

    Args:
        layer: the layer class.
        input_names: names of the inputs in Paddle's operator.
        weight_names: names of the weights in Paddle's operator; empty for a layer that is only observed.
        output_names: names of the outputs in Paddle's operator.
        quant_axis: axis of the weight that holds its channels; ``None`` for a layer without a weight.
        transparent: the layer passes its input on unchanged in eval mode, so it needs no grid of its own.
        activation: the layer is an activation function, which a runtime merges into the compute layer before it.
        nonnegative: the output of the layer is never negative.
        weights: names of the parameters that the twin stores as integers, as patterns; one that has fewer than two axes is no weight.
        weight_only: the input is not an activation (token ids), so the weight alone is quantized.
        whole: the layer computes what its sublayers would; they are never called.
        applies_to: which instances of the class are supported; all when ``None``.
    """

    def __init__(
        self,
        layer: type[nn.Layer],
        input_names: Sequence[str],
        weight_names: Sequence[str],
        output_names: Sequence[str],
        *,
        quant_axis: int | None = None,
        transparent: bool = False,
        activation: bool = False,
        nonnegative: bool = False,
        weights: Sequence[str] = ("weight",),
        weight_only: bool = False,
        whole: bool = False,
        applies_to: Callable[[Any], bool] | None = None,
    ) -> None:
        if not (isinstance(layer, type) and issubclass(layer, nn.Layer)):
            raise ConfigError(f"LayerInfo needs a subclass of paddle.nn.Layer, got {layer!r}; pass the class, not an instance")
        self.layer = layer
        self.input_names = list(input_names)
        self.weight_names = list(weight_names)
        self.output_names = list(output_names)
        self.quant_axis = quant_axis
        self.transparent = transparent
        self.activation = activation
        self.nonnegative = nonnegative
        self.weights = list(weights)
        self.weight_only = weight_only
        self.whole = whole
        self.applies_to = applies_to

    def weights_of(self, layer: nn.Layer) -> dict[str, Any]:
        """The weights of one layer by their names; empty when they are no parameters but computed in every forward."""
        return {
            name: parameter
            for name, parameter in layer._parameters.items()
            if parameter is not None and parameter.ndim > 1 and any(fnmatchcase(name, pattern) for pattern in self.weights)
        }

    def of_subclass(self, layer: type[nn.Layer]) -> LayerInfo:
        """The same facts for a subclass."""
        return LayerInfo(
            layer,
            self.input_names,
            self.weight_names,
            self.output_names,
            quant_axis=self.quant_axis,
            transparent=self.transparent,
            activation=self.activation,
            nonnegative=self.nonnegative,
            weights=self.weights,
            weight_only=self.weight_only,
            whole=self.whole,
            applies_to=self.applies_to,
        )


def _class_of(layer: Any) -> type:
    # not type(layer): a model whose activations lie on grids has a class made for it, which passes for its own
    return layer if isinstance(layer, type) else layer.__class__


class PTQRegistry:
    """Supported layers and their quantized twins.  Every query takes a class or an instance.

    A subclass of a supported layer counts as that layer only while it inherits the layer's ``forward``: with a ``forward`` of
    its own the engine cannot know what it computes, so it stays float until ``register`` is called for it.
    """

    _infos: dict[type, LayerInfo] = {}  # noqa: RUF012 - the one registry of the process, written by `register` only
    _twins: dict[type, type] = {}  # noqa: RUF012

    @classmethod
    def register(cls, layer: LayerInfo | type[nn.Layer], *, twin: type | None = None, replace: bool = False) -> None:
        """Declares a layer class as supported.

        Args:
            layer: a `LayerInfo`, or a subclass of a supported layer (it inherits that layer's facts).
            twin: the quantized class that `convert` swaps in; inherited from the nearest supported base class when not given.
            replace: allow an existing entry to be replaced.

        Raises:
            ConfigError: the class is registered already, or is no subclass of a supported layer and comes without `LayerInfo`.
        """
        if not isinstance(layer, LayerInfo):
            base = cls._supported_base(layer) if isinstance(layer, type) else None
            if base is None:
                raise ConfigError(f"{layer!r} is not a subclass of a supported layer; register a LayerInfo for it instead")
            layer = cls._infos[base].of_subclass(layer)
        if layer.layer in cls._infos and not replace:
            raise ConfigError(f"{layer.layer.__name__} is registered already; pass replace=True to replace its entry")
        base = cls._supported_base(layer.layer)
        if layer.quant_axis is None and layer.weight_names and base is not None:
            layer.quant_axis = cls._infos[base].quant_axis
        if twin is None and layer.weight_names:
            twin = cls._twins.get(base) if base is not None else None
            if twin is None:
                raise ConfigError(f"{layer.layer.__name__} has weights and no supported base class: pass twin=, its quantized class")
        cls._infos[layer.layer] = layer
        if twin is not None:
            cls._twins[layer.layer] = twin

    @classmethod
    def unregister(cls, layer: type[nn.Layer]) -> None:
        """Takes back `register`; an unknown class is ignored."""
        cls._infos.pop(layer, None)
        cls._twins.pop(layer, None)

    @classmethod
    def _supported_base(cls, layer: type) -> type | None:
        return next((base for base in layer.__mro__ if base in cls._infos), None)

    @classmethod
    def overridden_base(cls, layer: Any) -> type | None:
        """The supported class that ``layer`` derives from while computing something of its own, else ``None``."""
        base = cls._supported_base(_class_of(layer))
        if base is None or cls.is_registered_layer(layer):
            return None
        applies_to = cls._infos[base].applies_to
        return base if isinstance(layer, type) or applies_to is None or applies_to(layer) else None

    @classmethod
    def is_supported_layer(cls, layer: Any) -> bool:
        """Whether the engine can quantize or observe the layer."""
        layer_class = _class_of(layer)
        base = cls._supported_base(layer_class)
        if base is None or (not isinstance(layer, type) and not cls._is_usual(layer, cls._infos[base])):
            return False
        return layer_class.forward is base.forward  # type: ignore[attr-defined]

    @staticmethod
    def _is_usual(layer: nn.Layer, info: LayerInfo) -> bool:
        """Whether an instance computes what its class says."""
        return "forward" not in vars(layer) and (info.applies_to is None or info.applies_to(layer))

    @classmethod
    def is_registered_layer(cls, layer: Any) -> bool:
        """Whether the engine knows the layer: a supported layer or a quantized twin."""
        return cls.is_supported_layer(layer) or cls.is_quantized_layer(layer)

    @classmethod
    def is_quantized_layer(cls, layer: Any) -> bool:
        """Whether the layer is a quantized twin."""
        return any(twin in _class_of(layer).__mro__ for twin in cls._twins.values())

    @classmethod
    def is_simulated_quant_layer(cls, layer: Any) -> bool:
        """Whether `convert` swaps the layer for a quantized twin that rounds its input: a compute layer."""
        if not cls.is_supported_layer(layer):
            return False
        info = cls.layer_info(layer)
        return bool(info.weight_names) and not info.weight_only

    @classmethod
    def is_weight_only_layer(cls, layer: Any) -> bool:
        """Whether `convert` swaps the layer for a quantized twin that takes its input as it is."""
        return cls.is_supported_layer(layer) and cls.layer_info(layer).weight_only

    @classmethod
    def layer_info(cls, layer: Any) -> LayerInfo:
        """The facts of a supported layer or of a quantized twin.

        Raises:
            ConfigError: the layer is not registered.
        """
        if not cls.is_registered_layer(layer):
            raise ConfigError(
                f"{_class_of(layer).__name__} is not registered; register it with PTQRegistry.register, "
                "or leave it float with skip_quant = True"
            )
        found = _class_of(layer)
        base = cls._supported_base(found) or next(base for base, twin in cls._twins.items() if twin in found.__mro__)
        return cls._infos[base]

    @classmethod
    def twin_class(cls, layer: Any) -> type:
        """The quantized class of a simulated layer."""
        return cls._twins[cls.layer_info(layer).layer]
