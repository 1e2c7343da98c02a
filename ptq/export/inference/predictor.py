"""A `paddle.inference` predictor that runs an exported int8 model with the settings it needs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError

from ...util.messages import last_line
from ..manifest import MANIFEST_SUFFIX, read_manifest, verify_files

__all__ = ["INFERENCE_SUFFIXES", "create_int8_predictor", "open_predictor"]

INFERENCE_SUFFIXES = (".infer.pdmodel", ".infer.pdiparams")


def create_int8_predictor(path: str | os.PathLike[str], threads: int = 1, engine: str = "openvino") -> Any:
    """A predictor for the Paddle Inference files of a quantized model, run by the OpenVINO engine that Paddle bundles.

    Args:
        path: the prefix that the model was saved under; ``path.infer.pdmodel`` and ``path.infer.pdiparams`` are read, and compared
            with the checksums of ``path.ptq.json`` where there is one.
        threads: CPU threads to compute with.
        engine: ``"openvino"``. ``"onednn"`` is refused: Paddle's int8 passes for oneDNN ignore the zero points of activations, and their
            fully connected kernel mixes up the scales of weights.

    Returns:
        A `paddle.inference.Predictor`, compiled and ready; its inputs and outputs are those of the saved model, in their order.

    Raises:
        ArtifactError: the model was not exported for Paddle Inference, is a float model, or the engine cannot run it.
        CorruptArtifactError: a file is not the one that was saved with its manifest.
        ConfigError: ``path``, ``threads`` or ``engine`` is not usable.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigError(f"path must be the prefix that the model was saved under, got {path!r}")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads must be a number of CPU threads from 1 up, got {threads!r}")
    if engine == "onednn":
        raise ConfigError(
            "engine='onednn' is refused: Paddle's int8 passes for oneDNN ignore the zero points of activations and its fully connected "
            "kernel applies weight scales to the wrong columns, so that answers would be wrong; use engine='openvino'"
        )
    if engine != "openvino":
        raise ConfigError(f"engine must be 'openvino', got {engine!r}")
    prefix = os.fspath(path)
    try:
        _check_files(prefix)
        program = Path(f"{prefix}{INFERENCE_SUFFIXES[0]}").read_bytes()
    except OSError as error:
        raise ArtifactError(f"{prefix} cannot be read: {error}") from error
    if b"dequantize_linear" not in program:
        raise ArtifactError(f"{prefix} is a float model: it holds nothing to run in int8; open it with paddle.inference.create_predictor")
    return open_predictor(prefix, threads)


def _check_files(prefix: str) -> None:
    missing = [suffix for suffix in INFERENCE_SUFFIXES if not Path(prefix + suffix).is_file()]
    if Path(prefix + MANIFEST_SUFFIX).exists():
        manifest = read_manifest(prefix)
        listed = {suffix: entry for suffix, entry in manifest["files"].items() if suffix in INFERENCE_SUFFIXES}
        if len(listed) == len(INFERENCE_SUFFIXES):
            verify_files(prefix, {**manifest, "files": listed})
            return
        if not missing:
            raise CorruptArtifactError(
                f"{prefix}: its manifest does not list {' and '.join(INFERENCE_SUFFIXES)}, they are of another save; save the model again"
            )
    if missing:
        names = " and ".join(prefix + suffix for suffix in missing)
        raise ArtifactError(
            f"{names}: no such file. {prefix} was not exported for Paddle Inference: save it with formats=('jit', 'inference'), or use "
            "ptq.export.export_inference. The portable program (.json) has no int8 kernels and is not run here"
        )


def open_predictor(prefix: str, threads: int = 1) -> Any:
    """The predictor of ``prefix.infer.*`` with the OpenVINO engine, float or int8, without a look at the manifest.

    Raises:
        ArtifactError: this Paddle has no such engine, or the engine cannot run the program.
    """
    from paddle import inference

    config = inference.Config(*(prefix + suffix for suffix in INFERENCE_SUFFIXES))
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(threads)
    config.enable_openvino_engine(inference.PrecisionType.Float32)
    with tempfile.TemporaryDirectory(prefix="ptq-openvino-") as cache:
        config.set_optim_cache_dir(cache)  # else the compiled model stays behind, in a folder made in the working directory
        try:
            return inference.create_predictor(config)
        except (RuntimeError, ValueError, OSError) as error:
            unknown = "Can't convert paddle model" in str(error)
            reason = "it holds an operation that the engine lacks" if unknown else f"{type(error).__name__}: {last_line(error)}"
            engine = "Paddle's OpenVINO engine, which is in paddlepaddle for Linux on x86,"
            raise ArtifactError(f"{prefix}: {engine} cannot run it ({reason}); use the format 'onnx'") from error
