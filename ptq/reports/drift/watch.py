"""`watch`: keeps some of the production inputs, and replays them later through the float model to see what leaves its range."""

from __future__ import annotations

import os
import random
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from quantizers import TensorStatistics
from quantizers.errors import ArtifactError, ConfigError, ModelError

from ...calibration.batches import call_of
from ...calibration.calibration import Calibration
from ...calibration.seen import Sample
from ...calibration.state import state_of
from ...convert.apply import as_float
from ...export.manifest import MANIFEST_SUFFIX
from ...programs import load_program
from ...registry import input_argument
from ...util.modes import eval_mode, untraced
from ...util.nests import tensors_in
from ...util.structural_copy import structural_copy
from .counts import Drift, TensorCounts

__all__ = ["Watch", "watch"]

RATE, MOST = 0.01, 64
# Beyond a range by less than this share of its width is as good as inside: sums in another order differ by as much.
TOLERANCE = 1e-3


def watch(
    model: nn.Layer | str | os.PathLike[str],
    calibration: Calibration | str | os.PathLike[str],
    *,
    rate: float = RATE,
    most: int = MOST,
    seed: int = 0,
) -> Watch:
    """Watches whether production inputs still lie in the ranges of calibration.

    Args:
        model: the converted model that keeps its float layers, the float model, or the path of the saved program that was quantized: the
            model through which kept inputs are replayed.
        calibration: what `Calibration.of` gave before the conversion, or the path where it was saved.
        rate: share of the calls whose inputs are kept.
        most: how many kept inputs may wait for `Watch.replay`; further ones are not kept.
        seed: of the choice.

    Raises:
        ConfigError: an argument is not usable.
        ModelError: the calibration has no tensor of this model.
        ArtifactError: a file cannot be read.
    """
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 < rate <= 1:
        raise ConfigError(f"rate must be a share of the calls above 0 and at most 1, got {rate!r}")
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise ConfigError(f"most must be a whole number of at least 1, got {most!r}")
    found = calibration if isinstance(calibration, Calibration) else Calibration.load(calibration)
    return Watch(_opened(model), found, float(rate), most, seed)


def _opened(model: Any) -> nn.Layer:
    if isinstance(model, nn.Layer):
        state = state_of(model)
        if state is None or state.converted is None:
            return model
        return as_float(model) if state.converted.float_layers else model
    if not isinstance(model, (str, os.PathLike)):
        raise ConfigError(f"watch needs a model or the path of a saved program, got {model!r}")
    if os.path.exists(os.fspath(model) + MANIFEST_SUFFIX):
        raise ArtifactError(f"{os.fspath(model)} is quantized, its ranges cut; give the saved program that it was made of")
    return load_program(model)


class Watch:
    """Made by `watch`: `observe` on the hot path, `replay` off it, then `drift`.

    One process has one; what several counted is merged with `Drift.merge`.
    """

    def __init__(self, model: nn.Layer, calibration: Calibration, rate: float, most: int, seed: int) -> None:
        self._model: nn.Layer = structural_copy(model)
        self._rate, self._random = rate, random.Random(seed)
        self._kept: deque[Sample] = deque()
        self._most, self._calls, self._replayed, self._items = most, 0, 0, 0
        self._counts: dict[str, TensorCounts] = {}
        ranges = {name: layer.input[0] for name, layer in calibration.layers.items() if len(layer.input) == 1}
        for name, layer in self._model.named_sublayers(include_self=True):
            statistics = ranges.get(name)
            if isinstance(statistics, TensorStatistics) and statistics.items:
                self._counts[name] = TensorCounts(name, statistics.low, statistics.high, statistics.items)
                layer.register_forward_pre_hook(self._look(name), with_kwargs=True)
        if not self._counts:
            raise ModelError(
                f"the calibration knows no layer of {type(model).__name__} by name (it has {', '.join(list(ranges)[:3]) or 'none'}); "
                "give the model that was calibrated, or the program that it was loaded from"
            )

    def observe(self, *args: Any, **kwargs: Any) -> bool:
        """To be called with the arguments of a call of the model; whether they were kept (copied), to be replayed."""
        self._calls += 1
        if self._random.random() >= self._rate or len(self._kept) >= self._most:
            return False
        self._kept.append(Sample.of(call_of(args, None) if not kwargs else (call_of(args, None)[0], call_of(kwargs, None)[1])))
        return True

    def replay(self, limit: int | None = None) -> int:
        """Runs kept inputs through the model, all or at most ``limit`` of them, and counts; how many that were."""
        done = 0
        while self._kept and (limit is None or done < limit):
            args, kwargs = self._kept.popleft().call()
            tensors = tensors_in((args, kwargs))
            self._items = int(tensors[0].shape[0]) if tensors and tensors[0].ndim else 1
            with eval_mode(self._model), paddle.no_grad():
                self._model(*args, **kwargs)
            done += 1
        self._replayed += done
        return done

    @property
    def drift(self) -> Drift:
        """What was counted so far."""
        return Drift(dict(self._counts), self._calls, self._replayed)

    def _look(self, name: str) -> Any:
        @untraced
        def look(layer: nn.Layer, args: Any, kwargs: Any = None) -> None:
            value = args[0] if args else (kwargs or {}).get(input_argument(layer.__class__))
            if isinstance(value, paddle.Tensor) and value.is_floating_point() and value.size:
                self._counts[name] = _counted(self._counts[name], value.astype("float32").numpy(), self._items)

        return look


def _counted(counts: TensorCounts, array: npt.NDArray[Any], items: int) -> TensorCounts:
    rows = array.reshape(items if items and array.size % items == 0 else 1, -1)
    width = (counts.high - counts.low) or 1.0
    low, high = counts.low - TOLERANCE * width, counts.high + TOLERANCE * width
    least, largest = rows.min(axis=1), rows.max(axis=1)
    outside = ~((least >= low) & (largest <= high))  # NaN is outside of everything
    found = rows[outside]
    excess = np.nanmax([0.0, counts.low - float(np.nanmin(least)), float(np.nanmax(largest)) - counts.high])
    return replace(
        counts,
        samples=counts.samples + len(rows),
        samples_outside=counts.samples_outside + int(outside.sum()),
        values=counts.values + rows.size,
        values_outside=counts.values_outside + int(found.size - np.count_nonzero((found >= low) & (found <= high))),
        reach=max(counts.reach, min(float(excess) / width, 1e6)),
    )
