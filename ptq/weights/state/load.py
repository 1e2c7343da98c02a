"""`load_weights`: a quantized state into a model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError, ModelError
from quantizers.grids.block_grid import BlockGrid
from quantizers.grids.packing import unpack

from ...layers import QuantizedLayer
from ...layers.base import Weight
from ...layers.block_weight import BlockLayout, BlockWeight
from ...registry import PTQRegistry
from ...util.json_file import read_json
from ..settings import WeightSettings
from ..swap import with_twins, working_copy
from .entry import Entry, as_float32
from .plan import VERSION
from .stream import MANIFEST_SUFFIX, file_digest
from .tensors import FORMAT, safetensors_entries

__all__ = ["load_weights"]

ENDINGS = ("quantized", "scale", "zero_point")


def load_weights(model: nn.Layer, path: str | os.PathLike[str], *, verify: bool = True) -> nn.Layer:
    """A copy of the model with the weights of a file that ``python -m ptq quantize-weights`` wrote; the model itself is left as it was.

    Args:
        model: built by its class; its own numbers do not matter.
        path: the file; its manifest lies beside it.
        verify: compare the file with the checksum in its manifest first.

    Raises:
        ModelError: the model has parameters that the file lacks, or of other shapes, or the file's are not the model's.
        ArtifactError: there is no such file; ``CorruptArtifactError``: it is not what its manifest says.
        ConfigError: ``model`` is no layer.
    """
    if not isinstance(model, nn.Layer):
        raise ConfigError(f"model must be a paddle.nn.Layer, got {model!r:.200}")
    file = Path(path)
    entries, facts = _opened(file, verify)
    settings = WeightSettings(**facts["settings"])
    working = working_copy(model)
    twins = {}
    used: set[str] = set()
    for name, layer in working.named_sublayers(include_self=True):
        if not PTQRegistry.is_supported_layer(layer):
            continue
        prefix = f"{name}." if name else ""
        parameters = PTQRegistry.layer_info(layer).weights_of(layer)
        stored = [f"{prefix}{weight}" for weight in parameters if f"{prefix}{weight}" in facts["weights"]]
        if not stored or len(stored) != len(parameters):
            continue
        weights = [_weight(entries, key, facts["weights"][key], settings) for key in stored]
        _check_shapes(file, stored, weights, list(parameters.values()))
        twin: QuantizedLayer = PTQRegistry.twin_class(layer).from_float(layer, None, *weights)  # type: ignore[attr-defined]
        twins[name] = twin
        used.update(stored)
    loaded = with_twins(working, twins, keep_float=False)
    made = {f"{name}_{ending}" for name in facts["weights"] for ending in ENDINGS}
    # a recurrent layer shows its weights under the names of its cells too, which a twin does not
    strange = [name for name in (*facts["weights"], *entries) if name not in made and name not in model.state_dict()]
    if strange:
        raise ModelError(f"{file} has {', '.join(strange[:3])}, which the model has not: it is another model's state")
    _set_others(file, loaded, entries, facts["weights"], used, settings)
    return loaded


def _opened(file: Path, verify: bool) -> tuple[dict[str, Entry], dict[str, Any]]:
    entries, metadata = safetensors_entries(file)
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ArtifactError(f"{file} was not written by python -m ptq quantize-weights")
    if verify:
        manifest = read_json(f"{file}{MANIFEST_SUFFIX}")
        if not isinstance(manifest, Mapping) or manifest.get("sha256") != file_digest(file):
            raise CorruptArtifactError(f"{file} is not the file of its manifest: it was changed or cut short; quantize the state again")
    try:
        facts: dict[str, Any] = json.loads(metadata["ptq"])
        version = facts["version"]
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptArtifactError(f"{file} does not say what its tensors are; quantize the state again") from error
    if version > VERSION:
        raise ArtifactError(f"{file} has version {version}, this paddle-ptq reads up to {VERSION}: upgrade paddle-ptq")
    return {entry.name: entry for entry in entries}, facts


def _weight(entries: Mapping[str, Entry], name: str, described: Mapping[str, Any], settings: WeightSettings) -> Weight:
    layout = BlockLayout(tuple(described["shape"]), described["axis"], settings.bits, settings.group_size, settings.is_symmetric)
    stored = entries[f"{name}_quantized"].read()
    if settings.bits <= 8:
        stored = (stored.astype(np.int16) + 128).astype(np.uint8)
    rows = unpack(stored, settings.bits, layout.blocks * layout.stored_block)[:, : layout.features]
    scale = entries[f"{name}_scale"].read()
    zero_point = np.full(scale.shape, 1 << (settings.bits - 1), np.int32)
    if not settings.is_symmetric:
        zero_point = entries[f"{name}_zero_point"].read().astype(np.int32) + layout.offset
    return BlockWeight(rows, BlockGrid(scale, zero_point, settings.bits, settings.group_size), layout.shape, layout.axis)


def _check_shapes(file: Path, names: list[str], weights: list[Weight], parameters: list[Any]) -> None:
    for name, weight, parameter in zip(names, weights, parameters, strict=True):
        if isinstance(weight, BlockWeight) and list(weight.shape) != list(parameter.shape):
            raise ModelError(f"'{name}' is {list(parameter.shape)} in the model and {list(weight.shape)} in {file}")


def _set_others(
    file: Path, model: nn.Layer, entries: Mapping[str, Entry], weights: Mapping[str, Any], used: set[str], settings: WeightSettings
) -> None:
    """Sets what is no twin's: biases, norms, buffers, and quantized tensors that no layer of the registry holds."""
    state = model.state_dict()
    twins = {f"{name}_{ending}" for name in used for ending in ENDINGS}
    arrays: dict[str, Any] = {}
    for name, tensor in state.items():
        if name in twins:
            continue
        if name in weights:
            arrays[name] = _plain(_weight(entries, name, weights[name], settings))
        elif name in entries:
            arrays[name] = as_float32(entries[name].read(), "BF16") if entries[name].dtype == "BF16" else entries[name].read()
        else:
            raise ModelError(f"the model's '{name}' is not in {file}: it is another model's state")
        if list(arrays[name].shape) != list(tensor.shape):
            raise ModelError(f"'{name}' is {list(tensor.shape)} in the model and {list(arrays[name].shape)} in {file}")
    with paddle.no_grad():
        for name, array in arrays.items():
            state[name].set_value(paddle.to_tensor(array).astype(state[name].dtype))


def _plain(weight: Weight) -> Any:
    assert isinstance(weight, BlockWeight)
    rows = weight.grid.dequantize(weight.codes)
    others = [size for axis, size in enumerate(weight.shape) if axis != weight.axis]
    return np.moveaxis(rows.reshape([weight.shape[weight.axis], *others]), 0, weight.axis)
