"""PaddleSlim's `quant_post_dynamic`: a saved program with its weights as integers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import paddle
from paddle import nn

from quantizers.errors import ConfigError

from ..imperative import ImperativePTQ
from ..layers.base import dequantized
from ..programs import load_program
from ..programs.files import find_files
from ..registry import PTQRegistry
from ..weights import quantize_weights
from .arguments import check_flag, prefix_of
from .layers import float_layers, has_weights
from .modes import dynamic_mode

__all__ = ["quant_post_dynamic"]

WITH_WEIGHTS = ("conv2d", "mul")
BITS = (8, 16)


def quant_post_dynamic(
    model_dir: str,
    save_model_dir: str,
    model_filename: str | None = None,
    params_filename: str | None = None,
    save_model_filename: str | None = None,
    save_params_filename: str | None = None,
    quantizable_op_type: Sequence[str] = WITH_WEIGHTS,
    weight_bits: int = 8,
    generate_test_model: bool = False,
) -> None:
    """Stores the weights of a saved float program as integers, a grid for each output channel; activations stay float.

    Arguments, their order and their defaults are those of PaddleSlim 2.6, where "dynamic" means this.  For integers that are multiplied,
    see `ptq.quantize_dynamic`.

    Args:
        model_dir: the folder of the program, or its prefix: ``.json`` or ``.pdmodel``.
        save_model_dir: the folder to write to.
        model_filename, params_filename: the program's files in ``model_dir``.
        save_model_filename: without its ending it names all files that are written; ``"__model__"`` when ``None``.
        save_params_filename: a name; the parameters lie beside the model under the model's name.
        quantizable_op_type: operators whose weights are stored as integers, such as ``conv2d``, ``depthwise_conv2d``, ``mul``,
            ``matmul``, ``lookup_table``.
        weight_bits: 8 or 16.
        generate_test_model: also write the program with the weights in float as the integers stand for them, in the folder ``test_model``
            beside ``save_model_dir``.

    Raises:
        ConfigError: an argument has a value that is not offered; the message names it.
        ProgramError: the program cannot be read.
        ArtifactError: the result cannot be written, or answers otherwise than it should.
    """
    name = "quant_post_dynamic"
    if type(weight_bits) is not int or weight_bits not in BITS:
        raise ConfigError(f"{name}: weight_bits must be 8 or 16, got {weight_bits!r}; ptq.quantize_weights has others")
    with_test_model = check_flag("generate_test_model", generate_test_model, name)
    if not isinstance(model_dir, (str, os.PathLike)):
        raise ConfigError(f"{name}: model_dir must be a folder or the prefix of a program, got {model_dir!r}")
    stem = "__model__" if save_model_filename is None else save_model_filename
    prefix = prefix_of(save_model_dir, stem, save_params_filename or "__params__", name, "save_model_dir")
    with dynamic_mode():
        program = load_program(model_dir, model_filename=model_filename, params_filename=params_filename)
        file = find_files(model_dir, None, model_filename, params_filename).model
        left = set(float_layers(program, file, quantizable_op_type, False, None, name))
        chosen = [path for path, layer in program.named_sublayers() if path not in left and has_weights(layer)]
        if not chosen:
            raise ConfigError(f"{name}: quantizable_op_type={list(quantizable_op_type)!r} names no operator with weights that {file} has")
        result = quantize_weights(program, bits=weight_bits, layers=chosen, fuse=False, progress=False)
        ImperativePTQ().save_quantized_model(result.model, prefix, program.input_spec)
        if with_test_model:
            folder = Path(save_model_dir).absolute().parent / "test_model"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            paddle.jit.save(_in_float(program, result.model), str(folder / Path(prefix).name), input_spec=program.input_spec)


def _in_float(program: nn.Layer, quantized: nn.Layer) -> nn.Layer:
    """The float program, which is ours, with what the integers stand for in its weights."""
    twins = dict(quantized.named_sublayers())
    for path, layer in program.named_sublayers():
        if path in twins and PTQRegistry.is_quantized_layer(twins[path]):
            for name, parameter in PTQRegistry.layer_info(layer).weights_of(layer).items():
                parameter.set_value(dequantized(twins[path], name).astype(parameter.dtype))
    return program
