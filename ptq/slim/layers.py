"""Which layers of a program PaddleSlim's operator and tensor names speak of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddle import nn

from quantizers.errors import ConfigError

from ..programs import Program
from ..registry import PTQRegistry
from ..util.paddle_private import core
from .arguments import STATIC

__all__ = ["KNOWN", "float_layers", "has_weights", "operators_of"]

# Names of operators by what a layer of ours is; products have three names in Paddle, by age.
PRODUCTS = frozenset({"mul", "matmul", "matmul_v2"})
OPERATORS: tuple[tuple[type[nn.Layer], frozenset[str]], ...] = (
    (nn.Linear, PRODUCTS),
    (nn.Embedding, frozenset({"lookup_table", "lookup_table_v2", "embedding"})),
    (nn.LSTM, frozenset({"lstm", "rnn"})),
    (nn.GRU, frozenset({"gru", "rnn"})),
    (nn.SimpleRNN, frozenset({"rnn"})),
    (nn.Conv1D, frozenset({"conv1d", "conv2d"})),
    (nn.Conv3D, frozenset({"conv3d"})),
    (nn.Conv1DTranspose, frozenset({"conv1d_transpose", "conv2d_transpose"})),
    (nn.Conv3DTranspose, frozenset({"conv3d_transpose"})),
)
KNOWN = frozenset().union(*(names for _, names in OPERATORS)) | {
    "conv2d",
    "depthwise_conv2d",
    "conv2d_transpose",
    "depthwise_conv2d_transpose",
}


def float_layers(program: Program, file: Path, operators: Any, is_full: bool, skipped: Any, caller: str = STATIC) -> list[str]:
    """Paths of the layers that stay float: those of other operators, unless all are quantized, and those that read skipped tensors.

    Args:
        program: what `load_program` made of ``file``.
        operators: PaddleSlim's ``quantizable_op_type``.
        is_full: PaddleSlim's ``is_full_quantize``.
        caller: what messages begin with.
        skipped: PaddleSlim's ``skip_tensor_list``: names of tensors; a layer that reads one stays float.  A layer's own path is a name
            too.

    Raises:
        ConfigError: an operator is not known to carry weights, or a tensor is read by no layer.
    """
    layers = {path: layer for path, layer in program.named_sublayers() if has_weights(layer)}
    wanted = _checked(operators, is_full, caller)
    others = [] if is_full else [path for path, layer in layers.items() if not operators_of(layer) & wanted]
    return [*others, *(path for path in _skipped(program, layers, file, skipped) if path not in others)]


def has_weights(layer: nn.Layer) -> bool:
    """Whether a layer has weights that can be integers."""
    return PTQRegistry.is_simulated_quant_layer(layer) or PTQRegistry.is_weight_only_layer(layer)


def operators_of(layer: nn.Layer) -> frozenset[str]:
    """Paddle's names for what a layer computes."""
    if isinstance(layer, (nn.Conv2D, nn.Conv2DTranspose)):
        name, inputs = ("conv2d", 1) if isinstance(layer, nn.Conv2D) else ("conv2d_transpose", 0)
        each = 1 if inputs else layer._groups  # the weight of a plain one has the inputs of one group, of a transposed one those of all
        depthwise = layer._groups > 1 and layer.weight.shape[inputs] == each
        return frozenset({f"depthwise_{name}"} if depthwise else {name})
    return next((names for kind, names in OPERATORS if isinstance(layer, kind)), frozenset())


def _checked(operators: Any, is_full: bool, caller: str) -> frozenset[str]:
    if not isinstance(operators, (list, tuple)) or not all(isinstance(name, str) for name in operators):
        raise ConfigError(f"{caller}: quantizable_op_type must be a list of names of operators, got {operators!r}")
    unknown = [name for name in operators if name not in KNOWN]
    if unknown and not is_full:
        raise ConfigError(
            f"{caller}: quantizable_op_type has {', '.join(map(repr, unknown))}, which carry no weights or are unknown; "
            + ("is_full_quantize=True gives grids to all operations; " if caller == STATIC else "")
            + f"those with weights are {', '.join(sorted(KNOWN))}"
        )
    return frozenset(operators)


def _skipped(program: Program, layers: Mapping[str, nn.Layer], file: Path, names: Any) -> Iterator[str]:
    if names is None:
        return
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"quant_post_static: skip_tensor_list must be a list of names of tensors or None, got {names!r}")
    readers = _readers(program, file)
    for name in names:
        found = [name] if name in layers else [path for path in readers.get(name, ()) if path in layers]
        if not found:
            known = sorted(readers)[:5]
            raise ConfigError(
                f"quant_post_static: skip_tensor_list: no layer with weights reads {name!r} in {file}; there are {', '.join(known)} …; "
                "a .json file has no names for what is computed: name the weight there, or the layer"
            )
        yield from found


def _readers(program: Program, file: Path) -> dict[str, list[str]]:
    """Paths of the layers by the tensors that they read: weights, and in a legacy program what is computed too."""
    readers = {name: [path] for path, names in program.parameter_names.items() for name in names}
    if file.suffix == ".json":
        return readers
    for inputs in _operations(core.ProgramDesc(file.read_bytes())):
        paths = [path for name in inputs for path in readers.get(name, ()) if name in readers]
        for name in inputs:
            known = readers.setdefault(name, [])
            known += [path for path in paths if path not in known]
    return readers


def _operations(description: Any) -> Iterator[Sequence[str]]:
    block = description.block(0)
    for number in range(block.op_size()):
        yield block.op(number).input_arg_names()
