"""Paddle Inference, which comes with Paddle: a program and its parameters, run by its OpenVINO engine, oneDNN or plain kernels."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from paddle import inference

from quantizers.errors import ArtifactError

from ..util.messages import last_line
from .onednn_log import VERBOSE, Primitive, primitives
from .profile import COMPUTE, CONVERSION, INT8, OTHER, OpTime, Run, summed

__all__ = ["PADDLE_INFERENCE", "open_engine", "open_kernels", "prepared", "profile", "read_log", "run_once"]

PADDLE_INFERENCE = "Paddle Inference"
WARM_UP, INFERENCES = 2, 9

Files = tuple[str, str]


class _Predictor(inference.Predictor):  # type: ignore[misc]
    """A predictor whose answers are tensors of their own: Paddle's share one buffer, which the next call overwrites."""

    def run(self, inputs: list[Any] | None = None) -> list[Any] | None:
        """As Paddle's: with tensors it answers, without it reads and fills the handles."""
        return _run(super(), inputs)

    def clone(self) -> Any:
        """A predictor for another thread, of the same kind."""
        return _Clone(super().clone())


class _Clone:
    """What Paddle cloned, which is always of Paddle's own class, behaving as `_Predictor`."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor

    def run(self, inputs: list[Any] | None = None) -> list[Any] | None:
        return _run(self._predictor, inputs)

    def clone(self) -> Any:
        return _Clone(self._predictor.clone())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)


def _run(predictor: Any, inputs: list[Any] | None) -> list[Any] | None:
    if inputs is None:
        predictor.run()
        return None
    return [answer.clone() for answer in predictor.run(inputs)]


def open_engine(files: Files, threads: int = 1) -> Any:
    """The predictor of a legacy program, float or int8, by the OpenVINO engine that Paddle bundles; its answers are tensors of their own.

    Raises:
        ArtifactError: this Paddle has no such engine, or the engine cannot run the program.
    """
    config = _config(files, threads)
    config.disable_gpu()
    config.enable_openvino_engine(inference.PrecisionType.Float32)
    with tempfile.TemporaryDirectory(prefix="ptq-openvino-") as cache:
        config.set_optim_cache_dir(cache)  # else the compiled model stays behind, in a folder made in the working directory
        try:
            return _Predictor(config)
        except (RuntimeError, ValueError, OSError) as error:
            unknown = "Can't convert paddle model" in str(error)
            reason = "it holds an operation that the engine lacks" if unknown else f"{type(error).__name__}: {last_line(error)}"
            engine = "Paddle's OpenVINO engine, which is in paddlepaddle for Linux on x86,"
            raise ArtifactError(f"{files[0]}: {engine} cannot run it ({reason}); use the format 'onnx'") from error


def open_kernels(files: Files, threads: int = 1, *, onednn: bool) -> Any:
    """The predictor of a program by Paddle's own kernels, with those of oneDNN or without."""
    config = _config(files, threads)
    config.enable_mkldnn() if onednn else config.disable_mkldnn()
    return inference.create_predictor(config)


def _config(files: Files, threads: int) -> Any:
    config = inference.Config(*files)
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    return config


def prepared(predictor: Any, name: str, feeds: Sequence[np.ndarray]) -> Run:
    """One inference of a predictor that is given these inputs once; ``name``: what errors call it.

    Raises:
        ArtifactError: it has another number of inputs.
    """
    names = predictor.get_input_names()
    if len(names) != len(feeds):
        raise ArtifactError(f"{name}: the program has inputs {names}, {len(feeds)} are given; save the model again")
    for item, array in zip(names, feeds, strict=True):
        predictor.get_input_handle(item).copy_from_cpu(array)
    run: Run = predictor.run
    return run


def run_once(files: Files, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the engine answers; one execution, as `VERBOSE` lists it."""
    predictor = open_engine(files)
    prepared(predictor, files[0], inputs)()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def profile(load: Callable[[], Run]) -> list[OpTime]:
    """Time of each oneDNN primitive in one inference, as it reports them; what runs without oneDNN is not in it.

    To be called in a process of its own: the report goes to the process's output and cannot be turned on later.
    """
    os.environ[VERBOSE] = "1"
    run = load()
    for _ in range(WARM_UP):
        run()
    sys.stdout.flush()
    output = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            for _ in range(INFERENCES):
                run()
        finally:
            os.dup2(output, 1)
            os.close(output)
        file.seek(0)
        return read_log(file.read().decode(errors="replace").splitlines())


def read_log(lines: Iterable[str]) -> list[OpTime]:
    """The same from the lines that oneDNN wrote."""
    return summed([(*_kind(primitive), primitive.seconds) for primitive in primitives(lines)], INFERENCES)


def _kind(primitive: Primitive) -> tuple[str, str, str]:
    group = COMPUTE if primitive.computes else CONVERSION if primitive.kind == "reorder" else OTHER
    return group, primitive.kind, INT8 if primitive.source in ("u8", "s8") else primitive.source
