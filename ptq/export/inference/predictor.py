"""A `paddle.inference` predictor that runs an exported int8 model with the settings it needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError

from ...runtimes.paddle_inference import open_engine
from ..manifest import MANIFEST_SUFFIX, read_manifest, verify_files

__all__ = ["INFERENCE_SUFFIXES", "create_int8_predictor"]

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
        A `paddle.inference.Predictor`, compiled and ready; its inputs and outputs are those of the saved model, in their order.  What
        ``run([x])`` returns are tensors of their own, which no later call overwrites.

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
    return open_engine((prefix + INFERENCE_SUFFIXES[0], prefix + INFERENCE_SUFFIXES[1]), threads)


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
