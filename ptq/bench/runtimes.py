"""The runtimes that can be measured, one entry each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..export.inference.predictor import INFERENCE_SUFFIXES, create_int8_predictor
from ..export.jit.program import SUFFIXES as PORTABLE_SUFFIXES
from ..export.openvino.write import OPENVINO_SUFFIXES
from ..runtimes import onnxruntime, openvino, paddle_inference
from ..runtimes.profile import INT8, OpTime, Run, int8_for

__all__ = ["RUNTIMES", "Load", "Runtime"]

Load = Callable[[str, Sequence[np.ndarray], int], Run]
Profile = Callable[[str, str, Sequence[np.ndarray], int], list[OpTime]]

ONNX = ".onnx"
FLOAT32 = "float32"


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


def _onnxruntime(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
    return onnxruntime.load(prefix + ONNX, feeds, threads)


def _onnxruntime_profile(_label: str, prefix: str, feeds: Sequence[np.ndarray], threads: int) -> list[OpTime]:
    return onnxruntime.profile(prefix + ONNX, feeds, threads)


def _openvino(name: str, suffixes: tuple[str, ...]) -> Runtime:
    """OpenVINO on files whose first suffix is given."""

    def loader(precision: Mapping[str, str] | None) -> Load:
        return lambda prefix, feeds, threads: openvino.load(prefix + suffixes[0], feeds, threads, precision)

    def loaders() -> dict[str, Load]:
        """A file, float or quantized, in float32, and in the precision that OpenVINO itself chooses where this is another (bfloat16).

        What a quantized file leaves float has that precision, so that each is to be compared with the float file in the same.
        """
        chosen = openvino.default_precision()
        return {FLOAT32: loader(openvino.FLOAT32)} | ({} if chosen == "f32" else {f"default ({chosen})": loader(None)})

    def profile(label: str, prefix: str, feeds: Sequence[np.ndarray], threads: int) -> list[OpTime]:
        return openvino.profile(prefix + suffixes[0], feeds, threads, openvino.FLOAT32 if label.endswith(FLOAT32) else None)

    return Runtime(name, suffixes, loader(None), loaders, profile, loaders)


def _files(prefix: str, suffixes: tuple[str, ...]) -> tuple[str, str]:
    return prefix + suffixes[0], prefix + suffixes[1]


def _engine(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
    return paddle_inference.prepared(create_int8_predictor(prefix, threads=threads), prefix, feeds)


def _engine_float(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
    return paddle_inference.prepared(paddle_inference.open_engine(_files(prefix, INFERENCE_SUFFIXES), threads), prefix, feeds)


def _kernels(suffixes: tuple[str, ...], onednn: bool) -> Load:
    def load(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
        return paddle_inference.prepared(paddle_inference.open_kernels(_files(prefix, suffixes), threads, onednn=onednn), prefix, feeds)

    return load


def _engine_floats() -> dict[str, Load]:
    """The float file with oneDNN, which is what users run, and with the engine that runs int8."""
    return {"oneDNN float": _kernels(INFERENCE_SUFFIXES, onednn=True), "OpenVINO float": _engine_float}


def _engine_profile(label: str, prefix: str, feeds: Sequence[np.ndarray], threads: int) -> list[OpTime]:
    load = {**_engine_floats(), INT8: _engine}[label]
    return paddle_inference.profile(lambda: load(prefix, feeds, threads))


# Plain kernels: oneDNN runs the quantized portable file many times slower.
_portable = _kernels(PORTABLE_SUFFIXES, onednn=False)

_ALL = (
    Runtime(onnxruntime.ONNX_RUNTIME, (ONNX,), _onnxruntime, lambda: {"float": _onnxruntime}, _onnxruntime_profile),
    _openvino(openvino.OPENVINO, (ONNX,)),
    _openvino(openvino.OWN_FILE, OPENVINO_SUFFIXES),
    Runtime(paddle_inference.PADDLE_INFERENCE, INFERENCE_SUFFIXES, _engine, _engine_floats, _engine_profile),
    Runtime(
        "Paddle portable",
        PORTABLE_SUFFIXES,
        _portable,
        lambda: {"oneDNN float": _kernels(PORTABLE_SUFFIXES, onednn=True), "plain float": _portable},
        never_faster="the portable file is smaller, not faster: it computes in float and rounds to the integer grids with ordinary "
        "operations, since Paddle has no int8 kernels for it; deploy path.onnx or path.infer.pdmodel for speed",
    ),
)
RUNTIMES = {runtime.name: runtime for runtime in _ALL}
