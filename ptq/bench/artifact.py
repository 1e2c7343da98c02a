"""What a saved model offers to be measured: its files, and inputs of a chosen batch size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantizers.errors import ConfigError, CorruptArtifactError, MismatchError

from ..export.manifest import MANIFEST_SUFFIX, read_manifest, verify_files

__all__ = ["Artifact", "Input", "check_pair", "feeds", "fixed_batch", "read_artifact", "with_batch"]


@dataclass(frozen=True)
class Input:
    """One input of a model; a free size is ``None``."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Artifact:
    """A saved model whose files match their manifest.

    ``bytes``: size of each file by its suffix; ``quantized_layers``: how many there are, ``None`` when the manifest does not tell.
    """

    prefix: str
    bytes: Mapping[str, int]
    inputs: tuple[Input, ...]
    quantized_layers: int | None


def read_artifact(prefix: str | os.PathLike[str]) -> Artifact:
    """The artifact with that path prefix.

    Raises:
        ArtifactError: there is none.
        CorruptArtifactError: its files do not belong together, or its manifest tells no inputs.
    """
    manifest = read_manifest(prefix)
    verify_files(prefix, manifest)
    try:
        inputs = tuple(_input(item) for item in manifest["inputs"])
        sizes = {suffix: int(entry["bytes"]) for suffix, entry in manifest["files"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtifactError(
            f"{os.fspath(prefix)}{MANIFEST_SUFFIX} does not tell the model's files and inputs; save the model again"
        ) from error
    if not inputs:
        raise ConfigError(f"{os.fspath(prefix)}: the model takes no tensor of a known shape; save it with an InputSpec for each input")
    return Artifact(os.fspath(prefix), sizes, inputs, manifest.get("quantized_layers"))


def _input(entry: Mapping[str, Any]) -> Input:
    shape = tuple(None if size is None or int(size) < 0 else int(size) for size in entry["shape"])
    return Input(shape, str(entry["dtype"]).removeprefix("paddle."))


def check_pair(int8: Artifact, baseline: Artifact) -> None:
    """Raises unless the two can be compared.

    Raises:
        ConfigError: the float model is quantized, or the quantized one is not.
        MismatchError: they take other inputs.
    """
    if int8.quantized_layers == 0:
        raise ConfigError(f"{int8.prefix} has no quantized layer; pass the quantized model first, and the float one with --float")
    if baseline.quantized_layers:
        raise ConfigError(
            f"{baseline.prefix} is quantized, it cannot be the float baseline; "
            "save_quantized_model(..., float_baseline=True) writes one beside it, as float_NAME"
        )
    if int8.inputs != baseline.inputs:
        raise MismatchError(
            f"{int8.prefix} and {baseline.prefix} are not the same model: their inputs are {_shown(int8)} and {_shown(baseline)}"
        )


def _shown(artifact: Artifact) -> list[list[int | None]]:
    return [list(item.shape) for item in artifact.inputs]


def fixed_batch(inputs: Sequence[Input]) -> int | None:
    """The batch size of a model that takes no other; ``None`` when it is free."""
    first = inputs[0].shape
    if any(item.shape and item.shape[0] is None for item in inputs):
        return None
    return first[0] if first else 1


def with_batch(inputs: Sequence[Input], batch: int, sizes: Sequence[Sequence[int]]) -> list[Input]:
    """The inputs with every free size filled in.

    Args:
        inputs: inputs as the manifest tells them.
        batch: takes the place of a free first size.
        sizes: for each input, its sizes behind the batch; empty when no other size is free.

    Raises:
        ConfigError: a free size is not given, or a given one contradicts the model.
    """
    if sizes and len(sizes) != len(inputs):
        raise ConfigError(f"--input-shape is given {len(sizes)} times, but the model has {len(inputs)} inputs: give one for each, in order")
    return [_filled(item, index, batch, sizes[index] if sizes else None) for index, item in enumerate(inputs)]


def _filled(item: Input, index: int, batch: int, given: Sequence[int] | None) -> Input:
    known = item.shape[1:]
    if given is not None:
        fits = len(given) == len(known) and all(own in (None, size) and size > 0 for own, size in zip(known, given, strict=True))
        if not fits:
            raise ConfigError(f"--input-shape {list(given)} does not fit input {index}, whose sizes behind the batch are {list(known)}")
        known = tuple(given)
    if None in known:
        raise ConfigError(
            f"input {index} has free sizes {list(item.shape)}: give those behind the batch with --input-shape, as in 3,224,224"
        )
    first = item.shape[:1]
    return Input(((batch,) if first == (None,) else first) + known, item.dtype)


def feeds(inputs: Sequence[Input]) -> list[np.ndarray]:
    """An array for each input, always the same values: normal numbers, or zeros for integers.

    Raises:
        ConfigError: NumPy has no such dtype.
    """
    random = np.random.default_rng(0)
    return [_array(item, random) for item in inputs]


def _array(item: Input, random: np.random.Generator) -> np.ndarray:
    try:
        dtype = np.dtype(item.dtype)
    except TypeError as error:
        raise ConfigError(f"inputs of dtype {item.dtype} cannot be made with NumPy; measure the model saved with float32 inputs") from error
    shape = [size for size in item.shape if size is not None]
    return random.standard_normal(shape).astype(dtype) if dtype.kind == "f" else np.zeros(shape, dtype)
