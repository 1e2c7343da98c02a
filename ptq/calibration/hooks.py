"""The forward hooks of calibration: attaching them, what they sample, removing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers import BaseQuantizer, StatisticsQuantizer, as_float_array
from quantizers.errors import NonFiniteError

from ..registry import input_argument
from ..util.tracer import TRACER
from .batches import check_not_empty
from .state import LayerState, State

__all__ = [
    "BatchHook",
    "attach_batch_hook",
    "attach_sample_hook",
    "batch_hook_of",
    "call_ranges_of",
    "is_calibrating",
    "remove_hooks",
]


class BatchHook:
    """Forward pre-hook of the model: counts batches and, before the first, prepares the model."""

    def __init__(self, state: State, prepare: Callable[[nn.Layer, State], None] | None) -> None:
        self.state = state
        self.prepare = prepare

    def __call__(self, model: nn.Layer, args: tuple[Any, ...], kwargs: Any = None) -> None:
        """Called by Paddle before the model's ``forward``; does nothing while the model is being traced (then without ``kwargs``)."""
        if not paddle.in_dynamic_mode() or self.state.seen.is_paused:
            return
        check_not_empty((args, kwargs or {}), f"batch {self.state.seen.batches}")
        self.state.cache.clear()
        self.state.seen.begin_batch(args, kwargs)
        self.prepare_model(model)

    def prepare_model(self, model: nn.Layer) -> None:
        """Runs, once, what waits for the shapes of the first batch; the state knows them."""
        with TRACER:
            if self.prepare is not None:
                self.prepare(model, self.state)
                self.prepare = None


class SampleHook:
    """Forward post-hook of a layer: feeds its input and output to the layer's quantizers."""

    def __init__(self, own: LayerState, state: State) -> None:
        self.own = own
        self.state = state
        self.call_ranges: list[float] = []
        self._calls = (0, 0)

    def __call__(self, layer: nn.Layer, args: tuple[Any, ...], kwargs: Any, output: Any = None) -> None:
        """Called by Paddle after the layer's ``forward``; does nothing while the model is being traced (then without ``kwargs``)."""
        if not paddle.in_dynamic_mode() or self.state.seen.is_paused:
            return
        if self.own.scheme.calibrated_input is not None:
            tensor = args[0] if args else kwargs[input_argument(type(layer))]
            axis = self.state.traced.channels[self.own.name] if self.own.scheme.per_channel_input else None
            self._sample(layer, self.own.in_act_quantizer, (tensor,), "input", axis)
            if axis is not None:
                self._sample_channels(tensor, axis)
        if self.own.scheme.output is not None:
            outputs = tuple(item for item in paddle.utils.flatten(output) if isinstance(item, paddle.Tensor) and item.is_floating_point())
            if outputs:
                self._sample(layer, self.own.out_act_quantizer, outputs, "output")

    def _sample(
        self, layer: nn.Layer, quantizer: BaseQuantizer, tensors: Sequence[paddle.Tensor], side: str, axis: int | None = None
    ) -> None:
        seen = self.state.seen
        where = seen.where(self.own.site, side)
        quantizer.sampled = True
        if isinstance(quantizer, StatisticsQuantizer):
            summaries = [self.state.cache.summary(tensor, quantizer, seen.items, where, axis) for tensor in tensors]
            if side == "input":
                self._note_range(max(summary.abs_max for summary in summaries))
            quantizer.sample_summaries(summaries, batch=seen.batches - 1 if seen.batches else None)
            return
        for tensor in tensors:
            array = as_float_array(tensor, where=where)
            if not (np.isfinite(array.min()) and np.isfinite(array.max())):
                quantizer.refused = f"{where}: the tensor holds NaN or Inf; fix the data or the model, then calibrate again from the start"
                raise NonFiniteError(quantizer.refused)
        quantizer.sample_data(layer, tuple(tensors))

    def _sample_channels(self, tensor: paddle.Tensor, axis: int) -> None:
        where = self.state.seen.where(self.own.site, "input")
        found = self.state.cache.ranges(tensor, axis, where).channels()
        if self.own.channels is None:
            self.own.channels = found
        else:
            self.own.channels.merge(found)

    def _note_range(self, abs_max: float) -> None:
        """Keeps the range of the input for the layer's first, second, ... call in a batch."""
        batch, call = self._calls
        call = call + 1 if batch == self.state.seen.batches else 0
        self._calls = self.state.seen.batches, call
        self.call_ranges += [0.0] * (call + 1 - len(self.call_ranges))
        self.call_ranges[call] = max(self.call_ranges[call], abs_max)


def attach_batch_hook(model: nn.Layer, state: State, prepare: Callable[[nn.Layer, State], None] | None) -> None:
    """Attaches the model's batch hook, before all others, and the state that the hooks share."""
    model.register_forward_pre_hook(BatchHook(state, prepare), prepend=True, with_kwargs=True)
    state.attach(model)


def attach_sample_hook(layer: nn.Layer, own: LayerState, state: State) -> None:
    """Makes the layer's state known to the model's and to the layer, and attaches the hook that samples, before all others."""
    state.layers[own.name] = layer._quant_config = own
    own.quant_hook_handle = layer.register_forward_post_hook(SampleHook(own, state), prepend=True, with_kwargs=True)


def batch_hook_of(model: nn.Layer) -> BatchHook | None:
    """The batch hook of a model under calibration."""
    return next((hook for hook in model._forward_pre_hooks.values() if isinstance(hook, BatchHook)), None)


def is_calibrating(model: nn.Layer) -> bool:
    """Whether the model, or a layer of it, carries calibration hooks."""
    return any(_own_hook_ids(layer) for layer in model.sublayers(include_self=True))


def call_ranges_of(layer: nn.Layer) -> list[float]:
    """Largest magnitude of the layer's input in its first, second, ... call of a batch, as far as its hook has seen."""
    hooks = (hook for hook in layer._forward_post_hooks.values() if isinstance(hook, SampleHook))
    return next((hook.call_ranges for hook in hooks), [])


def remove_hooks(layer: nn.Layer) -> None:
    """Removes the calibration hooks of this one layer.

    Handles are not used for it: in a deep copy of a model they still point to the original's hooks.
    """
    for table, key in _own_hook_ids(layer):
        table.pop(key, None)
        for flags in (
            layer._forward_pre_hooks_with_kwargs_flag,
            layer._forward_post_hooks_with_kwargs_flag,
            layer._forward_post_hooks_always_called,
        ):
            flags.pop(key, None)
    own = getattr(layer, "_quant_config", None)
    if own is not None:
        own.quant_hook_handle = None


def _own_hook_ids(layer: nn.Layer) -> list[tuple[Any, Any]]:
    tables = (layer._forward_pre_hooks, layer._forward_post_hooks)
    return [(table, key) for table in tables for key, hook in table.items() if isinstance(hook, (BatchHook, SampleHook))]
