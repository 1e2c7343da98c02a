"""Paddle Inference, which comes with Paddle: on ``path.infer.pdmodel`` with its OpenVINO engine, and on the portable ``path.json``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import paddle.inference as inference

from quantizers.errors import ArtifactError

from ..export.inference.predictor import INFERENCE_SUFFIXES, create_int8_predictor, open_predictor
from ..export.jit.program import SUFFIXES as PORTABLE_SUFFIXES
from .profile import COMPUTE, CONVERSION, INT8, OTHER, OpTime, summed
from .timing import Run

__all__ = ["INFERENCE_SUFFIXES", "PORTABLE_SUFFIXES", "float_loaders", "load", "load_portable", "portable_float_loaders", "profile"]

COMPUTES = ("convolution", "deconvolution", "inner_product", "matmul")
VERBOSE = "ONEDNN_VERBOSE"
WARM_UP, INFERENCES = 2, 9

Load = Callable[[str, Sequence[np.ndarray], int], Run]


def load(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
    """One inference of the int8 file with the OpenVINO engine."""
    return _fed(create_int8_predictor(prefix, threads=threads, engine="openvino"), prefix, feeds)


def float_loaders() -> dict[str, Load]:
    """The float file with oneDNN, which is what users run, and with the engine that runs int8."""
    return {
        "oneDNN float": _loader(*INFERENCE_SUFFIXES, lambda config: config.enable_mkldnn()),
        "OpenVINO float": lambda prefix, feeds, threads: _fed(open_predictor(prefix, threads), prefix, feeds),
    }


def portable_float_loaders() -> dict[str, Load]:
    """The portable float file with oneDNN, and with the plain kernels that the quantized one needs."""
    return {
        "oneDNN float": _loader(*PORTABLE_SUFFIXES, lambda config: config.enable_mkldnn()),
        "plain float": load_portable,
    }


def load_portable(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
    """One inference of a portable file with plain kernels; oneDNN runs the quantized one many times slower."""
    return _loader(*PORTABLE_SUFFIXES, lambda config: config.disable_mkldnn())(prefix, feeds, threads)


def _loader(program: str, parameters: str, choose: Callable[[Any], object]) -> Load:
    def load_with(prefix: str, feeds: Sequence[np.ndarray], threads: int) -> Run:
        config = inference.Config(prefix + program, prefix + parameters)
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(threads)
        choose(config)
        return _fed(inference.create_predictor(config), prefix, feeds)

    return load_with


def _fed(predictor: Any, prefix: str, feeds: Sequence[np.ndarray]) -> Run:
    names = predictor.get_input_names()
    if len(names) != len(feeds):
        raise ArtifactError(f"{prefix}: the program has inputs {names}, the manifest lists {len(feeds)}; save the model again")
    for name, array in zip(names, feeds, strict=True):
        predictor.get_input_handle(name).copy_from_cpu(array)
    run: Run = predictor.run
    return run


def profile(label: str, prefix: str, feeds: Sequence[np.ndarray], threads: int) -> list[OpTime]:
    """Time of each oneDNN primitive in one inference, as it reports them; what runs without oneDNN is not in it.

    To be called in a process of its own: the report goes to the process's output and cannot be turned on later.
    """
    os.environ[VERBOSE] = "1"
    run = {**float_loaders(), "int8": load}[label](prefix, feeds, threads)
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
        return read_verbose(file.read().decode(errors="replace").splitlines())


def read_verbose(lines: Iterable[str]) -> list[OpTime]:
    """The same from the lines that oneDNN wrote, of either of its versions that Paddle carries."""
    operations = []
    for line in lines:
        head, _, rest = line.partition(",exec,")
        fields = rest.split(",")
        if not head.startswith("onednn_verbose") or len(fields) < 6:
            continue
        op, memory, milliseconds = fields[1], fields[4], float(fields[-1])
        operations.append((*_kind(op, memory), milliseconds / 1e3))
    return summed(operations, INFERENCES)


def _kind(op: str, memory: str) -> tuple[str, str, str]:
    """Kind, type and precision; memory is ``src_u8::blocked… wei_s8…``, with a colon for the underscore in newer versions."""
    first = memory.replace("src:", "src_").split(" ")[0].removeprefix("src_").split(":")[0]
    group = COMPUTE if op in COMPUTES else CONVERSION if op == "reorder" else OTHER
    return group, op, INT8 if first in ("u8", "s8") else first
