"""Files of the alternatives, written to a temporary folder as they would be saved, without the checks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ..export.call import call_of, tensors_of
from ..export.jit.program import write_jit
from ..export.onnx.export import ONNX_SUFFIX
from ..export.onnx.write import parameter_names, write_onnx
from ..export.openvino.write import simulated_beside, write_openvino
from ..runtimes.profile import NodeTime
from ..runtimes.timing import clock_for, interleave
from ..util.modes import eval_mode
from .conditions import RUNTIMES, Conditions

__all__ = ["Stage"]

SECONDS = 1.5


class Stage:
    """Where alternatives are written, profiled and timed.

    Args:
        folder: an empty one.
        runtime: a name in `RUNTIMES`; precision: of what is float.
        conditions: batches and threads.
        input_spec: what the model is saved with; the shapes of calibration when ``None``.
    """

    def __init__(
        self, folder: str | os.PathLike[str], runtime: str, precision: str, conditions: Conditions, input_spec: Sequence[Any] | None
    ) -> None:
        self._folder, self._runtime, self.precision, self._conditions = Path(folder), RUNTIMES[runtime], precision, conditions
        self._spec = input_spec
        self.feeds: dict[int, list[np.ndarray]] = {}

    def write(self, name: str, model: nn.Layer) -> Path:
        """Writes an alternative and returns its ONNX file, whose operations are called after layers.

        Raises:
            ExportError: ONNX, or the converter, lacks an operation of the model.
            ConfigError: the model takes what no saved program can.
        """
        prefix = str(self._folder / name)
        spec, arguments = call_of(model, self._spec)
        with eval_mode(model), paddle.no_grad():
            write_jit(model, prefix, spec)
        names, file = parameter_names(model), Path(prefix + ONNX_SUFFIX)
        write_onnx(prefix, file, simulated_beside(prefix), names)
        if self._runtime.suffix != ONNX_SUFFIX:
            write_openvino(prefix, names, {})
        if not self.feeds:
            self.feeds = _feeds(spec, [tensor.numpy() for tensor in tensors_of(arguments)], self._conditions.batches)
        return file

    def profile(self, name: str, batch: int) -> list[NodeTime]:
        """Where the time of one inference goes."""
        return self._runtime.node_times(self._file(name), self.feeds[batch], self._conditions.threads, self.precision)

    def times(self, names: Sequence[str], batch: int) -> dict[str, list[float]]:
        """Seconds of each alternative in each round, in turn."""
        threads = self._conditions.threads
        runs = {name: self._runtime.load(self._file(name), self.feeds[batch], threads, self.precision) for name in names}
        return interleave(runs, self._conditions.rounds, SECONDS * len(runs), clock_for(threads))

    def _file(self, name: str) -> str:
        return str(self._folder / name) + self._runtime.suffix


def _feeds(spec: Sequence[Any], arrays: Sequence[np.ndarray], batches: Sequence[int]) -> dict[int, list[np.ndarray]]:
    """The inputs of a calibration batch, repeated or cut to each batch size; as they are where the model takes one size only."""
    flat = [item for item in paddle.utils.flatten(list(spec)) if hasattr(item, "shape")]
    free = [bool(item.shape) and item.shape[0] in (-1, None) for item in flat]
    if not any(free):
        return {int(arrays[0].shape[0]) if arrays[0].ndim else 1: list(arrays)}
    return {
        batch: [
            np.ascontiguousarray(np.resize(array, (batch, *array.shape[1:]))) if is_free else array
            for array, is_free in zip(arrays, free, strict=True)
        ]
        for batch in batches
    }
