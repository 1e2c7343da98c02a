"""What all quantized twins share: the integer weight, its scale, and the fake quantization of the input."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from quantizers import QParams
from quantizers.errors import ConfigError, ModelError

from ..registry import PTQRegistry
from ..util.paddle_private import paddle_dtype
from .block_weight import BlockLayout, BlockWeight
from .dynamic import DYNAMIC, DYNAMIC_BITS, dynamic_integers, exact_dtype, integer_view, kind_for, why_not_dynamic
from .integer_weight import IntegerWeight
from .log_weight import LogLayout, LogWeight
from .subclass import handwritten, new_twin

__all__ = ["GridInput", "QuantizedLayer", "Weight", "by_channel", "dequantized", "fake_quantize", "in_dtype_of_weight", "stored_parts"]

Weight = IntegerWeight | BlockWeight | LogWeight
Layout = BlockLayout | LogLayout

PARTS = ("_quantized", "_scale", "_zero_point", "_factor", "_table")
GRID_BUFFERS = (*PARTS, "_shift")


def fake_quantize(x: paddle.Tensor, scale: paddle.Tensor, zero_point: paddle.Tensor, quant_min: int, quant_max: int) -> paddle.Tensor:
    """Rounds ``x`` to an integer grid and back, in plain float32 operations.

    Quantize and dequantize operators are avoided on purpose: Paddle 3 computes the wrong one of the two in saved programs.
    Scale and zero point are tensors, because Python numbers are lowered differently in a saved program and rounding flips.

    Args:
        x: floating-point tensor of any shape.
        scale, zero_point: float32 tensors of shape [].
        quant_min, quant_max: bounds of the integer grid.

    Returns:
        A tensor of the shape and dtype of ``x``.
    """
    dtype = x.dtype
    if dtype != paddle.float32:
        x = x.astype("float32")
    x = (paddle.clip(paddle.round(x / scale) + zero_point, quant_min, quant_max) - zero_point) * scale
    return x if dtype == paddle.float32 else x.astype(dtype)


def _tensor(array: Any, dtype: Any) -> paddle.Tensor:
    return paddle.to_tensor(np.asarray(array), dtype=dtype)


class GridInput(nn.Layer):  # type: ignore[misc]
    """Mixin of layers that round their input to a grid; with ``dynamic`` set, see `ptq.layers.dynamic`, to one that is found in every call.

    Buffers, absent while the input is expected on its producer's grid already (``input_qparams`` is then ``None``):
        input_scale, input_zero_point: float32, shape []; the zero point is that of the grid's unsigned form.
        input_factor: float32 ``[C, 1, ..]``, only where the channels are multiplied before they are rounded.
        input_shift: float32, shape [], only where a number is added before, see `shift_input`.
    """

    input_qparams: QParams | None = None
    dynamic: str | None = None

    def set_input_grid(self, qparams: QParams, factor: paddle.Tensor | None = None) -> None:
        """Quantizes the input with another grid from now on.

        Every grid is kept in its unsigned form, integers from 0 up, so that two layers of equal width differ in nothing but
        buffers: a `state_dict` of one makes the other answer alike.  With a ``factor``, which broadcasts over the input, what is rounded
        and handed on is the input times it.
        """
        for name in ("input_factor", "input_shift"):
            self._buffers.pop(name, None)
        if factor is not None:
            self.register_buffer("input_factor", factor)
        self.input_qparams = qparams
        self.register_buffer("input_scale", _tensor(qparams.scale, "float32"))
        self.register_buffer("input_zero_point", _tensor(qparams.zero_point - qparams.quant_min, "float32"))

    def shift_input(self, number: float) -> None:
        """Adds a number to the input before it is rounded, from now on."""
        self.register_buffer("input_shift", _tensor(number, "float32"))

    def before_rounding(self, x: paddle.Tensor) -> paddle.Tensor:
        """What becomes of ``x`` before it is rounded: each channel times its factor, plus the number of `shift_input`."""
        if "input_factor" in self._buffers:
            x = x * self.input_factor.astype(x.dtype)
        if "input_shift" in self._buffers:
            x = x + self.input_shift.astype(x.dtype)
        return x

    def quantize_input(self, x: paddle.Tensor) -> paddle.Tensor:
        """``x`` on the grid of the layer's input."""
        if self.dynamic is not None:
            integers, scale = dynamic_integers(x, self.dynamic)
            return (integers * scale).astype(x.dtype)
        if self.input_qparams is None:
            return x
        return fake_quantize(self.before_rounding(x), self.input_scale, self.input_zero_point, 0, 2**self.input_qparams.num_bits - 1)

    def _apply(self, func: Any, device: Any, dtype: Any, blocking: Any, include_sublayers: bool = True) -> None:
        """As `paddle.nn.Layer._apply`, which changes device and dtype: integers and scales keep their dtype, or they would lose it."""
        own = {id(buffer) for name, buffer in self._buffers.items() if name.endswith(GRID_BUFFERS)}

        def keep(tensor: paddle.Tensor, device: Any, dtype: Any, blocking: Any) -> Any:
            return func(tensor, device, tensor.dtype if id(tensor) in own else dtype, blocking)

        super()._apply(keep, device, dtype, blocking, include_sublayers)

    def extra_repr(self) -> str:
        """The layer's own settings and the width of the input's grid."""
        bits = None if self.input_qparams is None else self.input_qparams.num_bits
        found = f"input_bits={bits}" if self.dynamic is None else f"input_bits={DYNAMIC_BITS}, dynamic={self.dynamic}"
        return ", ".join(filter(None, [super().extra_repr(), found]))


class QuantizedLayer(GridInput):
    """Mixin that turns a float layer class into its quantized twin.

    A twin's ``forward`` runs the float class's own on a fake-quantized input, with ``weight`` read from integers, so that padding
    modes, data formats, groups, hooks and the parents' own uses of ``weight`` behave as they did.  It calls the float class by name:
    ``super()`` in a mixin is more than Paddle's tracer can resolve.

    Buffers, for each weight, here ``weight``:
        weight_quantized: int8 (int16 above 8 bits), shape of the float weight; or packed, see `BlockWeight.buffers`.
        weight_scale: float32, broadcastable to the weight; or of its blocks.
        weight_zero_point, weight_factor, weight_table: see `BlockWeight.buffers` and `LogWeight.buffers`.
        input_scale, input_zero_point: see `GridInput`.

    ``read_from_integers`` names the attributes of the float layer that are computed from the integers when read.
    ``weight_factors``, ``result_factors`` tell what `scale_results` and `scale_channels` did: the twin's weights stand for those of the
    float layer times ``weight_factors`` (broadcastable to them), its results for the layer's times ``result_factors`` (``[C]``, or 1).
    ``input_factors`` tells what each channel that it reads was multiplied by (``[C]``, or 1).
    ``bias_offsets``, ``[C]`` or 0, is what `shift_results` made of its bias: the layer's, times ``result_factors``, plus these.
    """

    float_class: type[nn.Layer]
    read_from_integers: tuple[str, ...] = ("weight",)
    weight_factors: npt.NDArray[np.float64] | float = 1.0
    result_factors: npt.NDArray[np.float64] | float = 1.0
    input_factors: npt.NDArray[np.float64] | float = 1.0
    bias_offsets: npt.NDArray[np.float64] | float = 0.0
    _layouts: Mapping[str, Layout] = MappingProxyType({})
    _weight_bits: int
    _sum_dtype: str
    why_float_input: str = ""
    _weight_dtype: Any

    @classmethod
    def from_float(cls, layer: nn.Layer, input_qparams: QParams | None, *weights: Weight) -> QuantizedLayer:
        """The twin of ``layer``; the layer itself is not changed, its bias and buffers are shared.

        Without ``input_qparams`` the input is taken as it comes: it lies on its producer's grid already, or it is no activation.
        ``weights`` are the layer's, in the order of `LayerInfo.weights_of`: how they became integers is not the twin's business.
        """
        # not type(layer): that may be a class made for a whole model (see `gridded`), which passes for the layer's own
        twin: QuantizedLayer = new_twin(cls, layer.__class__)
        twin.__dict__.update(_shallow_state(layer))
        parameters = PTQRegistry.layer_info(layer).weights_of(layer)
        twin._weight_dtype = next(iter(parameters.values())).dtype
        twin._weight_bits = weights[0].num_bits
        twin.__dict__["_layouts"] = {
            name: weight.layout for name, weight in zip(parameters, weights, strict=True) if not isinstance(weight, IntegerWeight)
        }
        for name, weight in zip(parameters, weights, strict=True):
            del twin._parameters[name]
            for ending, array in weight.buffers().items():
                twin.register_buffer(f"{name}_{ending}", _tensor(array, str(array.dtype)))
        if input_qparams is not None:
            twin.set_input_grid(input_qparams)
        return twin

    def set_dynamic(self, kind: str) -> None:
        """From now on finds the grid of the input in every call; ``kind`` as in `ptq.layers.dynamic`.

        Raises:
            ConfigError: there is no such kind, or the weight is not stored as int8 in the float weight's shape.
        """
        if kind not in DYNAMIC or "weight" in self._layouts or self._weight_bits > DYNAMIC_BITS:
            raise ConfigError(f"a dynamic input is one of {', '.join(DYNAMIC)}, with a weight of up to 8 bits without blocks, got {kind!r}")
        weight, axis = self._buffers["weight_quantized"], PTQRegistry.layer_info(self).quant_axis or 0
        self.dynamic = kind
        self._sum_dtype = exact_dtype(int(weight.size) // max(weight.shape[axis], 1))

    def set_dynamic_unless_slow(self, layer: nn.Layer, kind: str) -> None:
        """`set_dynamic`, in the kind that fits ``layer``, whose twin this is; where no runtime gains by it the weight alone is integers."""
        self.why_float_input = why_not_dynamic(layer)
        if not self.why_float_input:
            self.set_dynamic(kind_for(layer, kind))

    def dynamic_forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """The float class's own ``forward`` on integers, whose sums are exact, then scales and bias: what integer kernels compute.

        For layers with one ``weight``, an output channel of which has one scale.
        """
        integers, scale = dynamic_integers(x, self.dynamic or "")
        sums = self.float_class.forward(integer_view(self), integers.astype(self._sum_dtype)).astype("float32")
        is_last = sums.ndim == 2 or self.is_channel_last
        shape = [-1] if is_last else [1, -1, *[1] * (sums.ndim - 2)]
        by_channel = self.weight_scale.reshape(shape)
        answer = sums * by_channel * scale if self.dynamic == "row" else sums * (scale * by_channel)
        if self.bias is not None:
            answer = answer + self.bias.astype("float32").reshape(shape)
        return answer if answer.dtype == x.dtype else answer.astype(x.dtype)

    @property
    def is_channel_last(self) -> bool:
        """Whether the channels of the result are its last axis."""
        return str(getattr(self, "_data_format", "NLC")).endswith("C")

    def take_weight(self, name: str, other: QuantizedLayer, other_name: str) -> None:
        """Stores the weight of that name as what another twin has, the same buffers."""
        for ending in PARTS:
            self._buffers.pop(f"{name}{ending}", None)
            if f"{other_name}{ending}" in other._buffers:
                self.register_buffer(f"{name}{ending}", other._buffers[f"{other_name}{ending}"])
        layouts = {key: value for key, value in self._layouts.items() if key != name}
        self.__dict__["_layouts"] = layouts | ({name: other._layouts[other_name]} if other_name in other._layouts else {})
        self._weight_bits = other._weight_bits

    def scale_results(self, factors: npt.NDArray[np.float32]) -> None:
        """Multiplies each output channel by a positive factor, ``[C]``: its weights' scale and its bias; the integers stay."""
        axis = PTQRegistry.layer_info(self).quant_axis or 0
        shape = [1] * self._buffers["weight_quantized"].ndim
        shape[axis] = -1
        self.register_buffer("weight_scale", self.weight_scale * _tensor(factors.reshape(shape), "float32"))
        self.weight_factors = self.weight_factors * factors.reshape(shape).astype(np.float64)
        self.result_factors = self.result_factors * factors.astype(np.float64)
        self.bias_offsets = self.bias_offsets * factors.astype(np.float64)
        bias = self._parameters.get("bias")
        if bias is not None:
            self.set_bias((bias.astype("float32") * _tensor(factors, "float32")).numpy())

    def in_own_units(self, result: paddle.Tensor) -> paddle.Tensor:
        """The float layer's result times ``result_factors``: what the twin's should be."""
        factors = np.asarray(self.result_factors, dtype=np.float32)
        if not factors.ndim:
            return result
        shape = [1] * result.ndim
        shape[1 if self._buffers["weight_quantized"].ndim > 2 else -1] = -1  # of a convolution, of a Linear
        return result * _tensor(factors.reshape(shape), result.dtype)

    def shift_results(self, offsets: npt.NDArray[np.float32]) -> None:
        """Adds a number to each output channel, ``[C]``: to the bias, which a layer without one gets."""
        bias = self._parameters.get("bias")
        if bias is None:
            shifted = self.create_parameter([offsets.size], dtype=self._weight_dtype, is_bias=True)
            shifted.set_value(_tensor(offsets, "float32").astype(self._weight_dtype))
        else:
            shifted = copy.deepcopy(bias)  # the float layer keeps its own
            shifted.set_value((bias.astype("float32") + _tensor(offsets, "float32")).astype(bias.dtype))
        self.bias = shifted
        self.bias_offsets = self.bias_offsets + offsets.astype(np.float64)

    def scale_channels(self, factors: npt.NDArray[np.float32], rounded: IntegerWeight | None = None) -> None:
        """Multiplies the weights by a positive factor for each channel that they read, ``[C]``, whose elements are divided by it.

        ``rounded`` is that product of float weights and factors as integers; without it, in a depthwise convolution, the integers stay.
        """
        each = by_channel(self, factors)
        if rounded is None:
            self.register_buffer("weight_scale", self.weight_scale * _tensor(each, "float32"))
        else:
            axis = PTQRegistry.layer_info(self).quant_axis or 0
            own = np.asarray(self.result_factors, dtype=np.float32)
            shape = [-1 if number == axis else 1 for number in range(rounded.integers.ndim)]
            self.set_weight(rounded.integers, rounded.scale * (own.reshape(shape) if own.ndim else own))
        self.weight_factors = self.weight_factors * each.astype(np.float64)
        self.input_factors = self.input_factors / factors.astype(np.float64)

    def set_weight(self, integers: npt.NDArray[Any], scale: npt.NDArray[Any]) -> None:
        """Other integers for the weight, in its shape, on a grid of the same width, and the scale that broadcasts over them."""
        bound = 2 ** (self._weight_bits - 1)
        stored = self._buffers["weight_quantized"]
        if list(integers.shape) != list(stored.shape) or integers.min(initial=0) < -bound or integers.max(initial=0) >= bound:
            raise ConfigError(f"{self.full_name()}: the integers do not fit a weight {list(stored.shape)} of {self._weight_bits} bits")
        self.register_buffer("weight_quantized", _tensor(integers, str(stored.dtype).rpartition(".")[2]))
        self.register_buffer("weight_scale", _tensor(scale, "float32"))

    def set_bias(self, values: npt.NDArray[Any]) -> None:
        """Another bias, ``[C]``; the float layer keeps its own."""
        bias = copy.deepcopy(self._parameters["bias"])
        bias.set_value(_tensor(values, "float32").astype(bias.dtype))
        self._parameters["bias"] = bias

    def round_bias(self, input_scale: float) -> None:
        """Puts the bias on the grid of the integer sums that it is added to, ``input_scale * weight_scale``, as int8 runtimes do.

        The scale of each output channel must be one number.  A bias too large for 32-bit integers stays as it is.
        """
        bias = self._parameters.get("bias")
        if bias is None:
            return
        scale = np.float64(input_scale) * self.weight_scale.numpy().astype(np.float64).reshape(-1)
        if scale.size not in (1, bias.size):
            return
        integers = np.rint(bias.astype("float32").numpy().astype(np.float64) / scale)
        if np.abs(integers).max(initial=0) >= 2**31:
            return
        self.set_bias(integers * scale)

    @property
    def weight(self) -> paddle.Tensor:
        """The dequantized weight, in the float weight's shape and dtype."""
        return dequantized(self, "weight")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.read_from_integers:
            raise ModelError(f"{self.full_name()} is quantized and its weight is fixed; change the float model, then quantize that")
        if name == "_dtype" and value is not None and "_weight_dtype" in vars(self):  # what Layer.to and Layer.astype set last
            self._weight_dtype = paddle_dtype(value)
        super().__setattr__(name, value)

    def extra_repr(self) -> str:
        """The float layer's settings and the widths of weight and input."""
        return f"{super().extra_repr()}, weight_bits={self._weight_bits}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Paddle's tracer keeps functions in _original_funcs, among them some that cannot be pickled
        return new_twin, (handwritten(self.__class__), self.float_class), {**vars(self), "_original_funcs": OrderedDict()}


def by_channel(layer: nn.Layer, factors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A factor for each channel that a convolution or a Linear reads, ``[C]``, in a shape that broadcasts over its weight."""
    info = PTQRegistry.layer_info(layer)
    weight = layer._buffers["weight_quantized"] if isinstance(layer, QuantizedLayer) else next(iter(info.weights_of(layer).values()))
    if info.quant_axis == 1:  # [in, out, ..]
        return factors.reshape([-1] + [1] * (weight.ndim - 1))
    outputs, groups = weight.shape[0], layer._groups
    each = np.repeat(factors.reshape(groups, -1), outputs // groups if groups > 1 else 1, axis=0)
    return each.reshape(*each.shape, *[1] * (weight.ndim - 2))


def dequantized(layer: Any, name: str) -> paddle.Tensor:
    """The weight of that name of a twin, or of a view of one (see `subclass`), in the float weight's shape and dtype."""
    if f"{name}_quantized" not in layer._buffers:
        raise AttributeError(f"{layer.full_name()} has no weight '{name}'")
    # read as attributes: while it traces, Paddle turns those into values of the program
    layout = getattr(layer, "_layouts", {}).get(name)
    if layout is None:
        return in_dtype_of_weight(layer, getattr(layer, f"{name}_quantized").astype("float32") * getattr(layer, f"{name}_scale"))
    return in_dtype_of_weight(layer, layout.whole(*stored_parts(layer, name)))


def stored_parts(layer: Any, name: str) -> list[paddle.Tensor | None]:
    """What is stored of a weight that has a layout, in the order of the arguments of the layout's `rows`."""
    return [getattr(layer, f"{name}_{ending}") if ending else None for ending in layer._layouts[name].buffers]


def in_dtype_of_weight(layer: Any, tensor: paddle.Tensor) -> paddle.Tensor:
    """A float32 tensor in the dtype of the twin's float weight."""
    return tensor if layer._weight_dtype == paddle.float32 else tensor.astype(layer._weight_dtype)


def _shallow_state(layer: nn.Layer) -> dict[str, Any]:
    """The layer's attributes, with containers of its own, so that changing the twin does not change the layer."""
    state = {name: copy.copy(value) if isinstance(value, (dict, OrderedDict, set, list)) else value for name, value in vars(layer).items()}
    state["_original_funcs"] = OrderedDict()  # Paddle's tracer keeps methods of the float layer here
    return state
