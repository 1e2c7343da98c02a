"""The runtimes that can be measured, one entry each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import with_onnxruntime, with_openvino, with_paddle
from .profile import INT8, OpTime, int8_for
from .timing import Run

__all__ = ["RUNTIMES", "Load", "Runtime"]

Load = Callable[[str, Sequence[np.ndarray], int], Run]
Profile = Callable[[str, str, Sequence[np.ndarray], int], list[OpTime]]


@dataclass(frozen=True)
class Runtime:
    """How to run the int8 and the float artifact in one runtime.

    Attributes:
        name: what tables call it.
        suffixes: the files of an artifact that it reads.
        load: from path prefix, inputs and threads to a function that runs the int8 artifact once.
        floats: the same for the float artifact, by name of the baseline; it is called where the runtime is about to be used.
        profile: where the time of one inference goes, from the name of the baseline or ``"int8"``, prefix, inputs and threads.
        int8s: where int8 too can be run in several precisions: its loader for each baseline, in place of ``load``.
        never_faster: why int8 cannot be faster here, whatever the model; empty when it can.
    """

    name: str
    suffixes: tuple[str, ...]
    load: Load
    floats: Callable[[], Mapping[str, Load]]
    profile: Profile | None = None
    int8s: Callable[[], Mapping[str, Load]] | None = None
    never_faster: str = ""

    def loaders(self) -> dict[str, Load]:
        """All alternatives to be timed against each other: the baselines, then int8."""
        int8 = {INT8: self.load} if self.int8s is None else {int8_for(baseline): load for baseline, load in self.int8s().items()}
        return {**self.floats(), **int8}


_ALL = (
    Runtime(
        "ONNX Runtime",
        (with_onnxruntime.SUFFIX,),
        with_onnxruntime.load,
        lambda: {"float": with_onnxruntime.load},
        with_onnxruntime.profile,
    ),
    Runtime(
        "OpenVINO",
        (with_openvino.SUFFIX,),
        with_openvino.load,
        with_openvino.loaders,
        with_openvino.profile,
        with_openvino.loaders,
    ),
    Runtime("Paddle Inference", with_paddle.INFERENCE_SUFFIXES, with_paddle.load, with_paddle.float_loaders, with_paddle.profile),
    Runtime(
        "Paddle portable",
        with_paddle.PORTABLE_SUFFIXES,
        with_paddle.load_portable,
        with_paddle.portable_float_loaders,
        never_faster="the portable file is smaller, not faster: it computes in float and rounds to the integer grids with ordinary "
        "operations, since Paddle has no int8 kernels for it; deploy path.onnx or path.infer.pdmodel for speed",
    ),
)
RUNTIMES = {runtime.name: runtime for runtime in _ALL}
