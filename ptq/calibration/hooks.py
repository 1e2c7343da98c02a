"""The forward hooks of calibration: attaching them, what they sample, removing them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers import BaseQuantizer, StatisticsQuantizer, SummarySettings, TensorSummary, as_float_array
from quantizers.errors import NonFiniteError

from ..registry import input_argument
from .observation import Observation

__all__ = [
    "BatchHook",
    "attach_batch_hook",
    "attach_sample_hook",
    "batch_hook_of",
    "call_ranges_of",
    "is_calibrating",
    "observation_of",
    "remove_hooks",
]

_OBSERVATION = "_ptq_observation"
_PREPARING = threading.RLock()  # Paddle's tracer is one for the whole process


class SummaryCache:
    """Summaries of the current batch's tensors: an output that is the next layer's input is scanned once."""

    def __init__(self) -> None:
        self.is_open = False
        self._entries: dict[tuple[int, SummarySettings], tuple[Any, int, TensorSummary]] = {}

    def __deepcopy__(self, memo: Any) -> SummaryCache:
        return SummaryCache()

    def __reduce__(self) -> Any:
        return SummaryCache, ()

    def clear(self) -> None:
        """Forgets the last batch; before the first one nothing is kept, for then nobody would clear it."""
        self.is_open = True
        self._entries.clear()

    def summary(self, tensor: paddle.Tensor, quantizer: StatisticsQuantizer, items: int | None, where: str) -> TensorSummary:
        """The tensor's summary with the quantizer's settings; scanned again when the tensor was changed in place."""
        settings = quantizer.summary_settings
        key = (id(tensor), settings)
        entry = self._entries.get(key) if self.is_open else None
        if entry is not None and entry[0]() is tensor and entry[1] == tensor.inplace_version:
            return entry[2]
        summary = TensorSummary.of(tensor, items=items, bins=settings.bins, max_samples_per_item=settings.max_samples_per_item, where=where)
        self._entries[key] = (weakref.ref(tensor), tensor.inplace_version, summary)
        return summary


class BatchHook:
    """Forward pre-hook of the model: counts batches and, before the first, prepares the model."""

    def __init__(self, observation: Observation, cache: SummaryCache, prepare: Callable[..., None] | None) -> None:
        self.observation = observation
        self.cache = cache
        self.prepare = prepare

    def __call__(self, model: nn.Layer, args: tuple[Any, ...], kwargs: Any = None) -> None:
        """Called by Paddle before the model's ``forward``; does nothing while the model is being traced (then without ``kwargs``)."""
        if not paddle.in_dynamic_mode() or self.observation.is_paused:
            return
        self.cache.clear()
        self.observation.begin_batch(args, kwargs)
        self.prepare_model(model)

    def prepare_model(self, model: nn.Layer) -> None:
        """Runs, once, what waits for the shapes of the first batch; the observation knows them."""
        with _PREPARING:
            if self.prepare is not None:
                self.prepare(model, self.observation)
                self.prepare = None


class SampleHook:
    """Forward post-hook of a layer: feeds its input and output to the quantizers of its config."""

    def __init__(self, name: str, observation: Observation, cache: SummaryCache) -> None:
        self.name = name
        self.observation = observation
        self.cache = cache
        self.call_ranges: list[float] = []
        self._calls = (0, 0)

    def __call__(self, layer: nn.Layer, args: tuple[Any, ...], kwargs: Any, output: Any = None) -> None:
        """Called by Paddle after the layer's ``forward``; does nothing while the model is being traced (then without ``kwargs``)."""
        if not paddle.in_dynamic_mode() or self.observation.is_paused:
            return
        config = layer._quant_config
        if config.enable_in_act_quantizer:
            tensor = args[0] if args else kwargs[input_argument(type(layer))]
            self._sample(layer, config.in_act_quantizer, (tensor,), "input")
        if config.enable_out_act_quantizer:
            outputs = tuple(item for item in paddle.utils.flatten(output) if isinstance(item, paddle.Tensor) and item.is_floating_point())
            if outputs:
                self._sample(layer, config.out_act_quantizer, outputs, "output")

    def _sample(self, layer: nn.Layer, quantizer: BaseQuantizer, tensors: Sequence[paddle.Tensor], side: str) -> None:
        where = self.observation.where(self.name, side)
        quantizer.sampled = True
        if isinstance(quantizer, StatisticsQuantizer):
            items, batch = self.observation.items, self.observation.batches - 1
            summaries = [self.cache.summary(tensor, quantizer, items, where) for tensor in tensors]
            if side == "input":
                self._note_range(max(summary.abs_max for summary in summaries))
            quantizer.sample_summaries(summaries, batch=batch if batch >= 0 else None)
            return
        for tensor in tensors:
            array = as_float_array(tensor, where=where)
            if not (np.isfinite(array.min()) and np.isfinite(array.max())):
                quantizer.refused = f"{where}: the tensor holds NaN or Inf; fix the data or the model, then calibrate again from the start"
                raise NonFiniteError(quantizer.refused)
        quantizer.sample_data(layer, tuple(tensors))

    def _note_range(self, abs_max: float) -> None:
        """Keeps the range of the input for the layer's first, second, ... call in a batch."""
        batch, call = self._calls
        call = call + 1 if batch == self.observation.batches else 0
        self._calls = self.observation.batches, call
        self.call_ranges += [0.0] * (call + 1 - len(self.call_ranges))
        self.call_ranges[call] = max(self.call_ranges[call], abs_max)


def attach_batch_hook(model: nn.Layer, observation: Observation, cache: SummaryCache, prepare: Callable[..., None] | None) -> None:
    """Attaches the model's batch hook, before all others, and the observation that the hooks share."""
    model.register_forward_pre_hook(BatchHook(observation, cache, prepare), prepend=True, with_kwargs=True)
    object.__setattr__(model, _OBSERVATION, observation)


def attach_sample_hook(layer: nn.Layer, name: str, observation: Observation, cache: SummaryCache) -> Any:
    """Attaches a layer's sample hook, before all others, and returns its handle."""
    return layer.register_forward_post_hook(SampleHook(name, observation, cache), prepend=True, with_kwargs=True)


def batch_hook_of(model: nn.Layer) -> BatchHook | None:
    """The batch hook of a model under calibration."""
    return next((hook for hook in model._forward_pre_hooks.values() if isinstance(hook, BatchHook)), None)


def observation_of(model: nn.Layer) -> Observation | None:
    """The observation of a model that `quantize` prepared."""
    return getattr(model, _OBSERVATION, None)


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
    config = getattr(layer, "_quant_config", None)
    if config is not None:
        config.quant_hook_handle = None


def _own_hook_ids(layer: nn.Layer) -> list[tuple[Any, Any]]:
    tables = (layer._forward_pre_hooks, layer._forward_post_hooks)
    return [(table, key) for table in tables for key, hook in table.items() if isinstance(hook, (BatchHook, SampleHook))]
