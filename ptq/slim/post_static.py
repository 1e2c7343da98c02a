"""PaddleSlim's `quant_post_static`: one call from a saved program and data to saved int8 models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import ConfigError, ExportError, NoCalibrationDataError

from ..calibration.run import calibrate
from ..config.config import PTQConfig
from ..imperative import ImperativePTQ
from ..programs import load_program
from ..programs.files import find_files
from ..util.extras import MissingExtraError
from .arguments import activation_quantizer, check_executor, check_flag, check_recoveries, formats_for, prefix_of, weight_quantizer
from .batches import batches_of
from .layers import float_layers
from .modes import dynamic_mode

__all__ = ["quant_post_static"]

WITH_WEIGHTS = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "mul", "matmul", "matmul_v2")
RUNS = {
    "jit": "{0}.json: Paddle, anywhere (ptq.load or paddle.jit.load), not faster than float",
    "inference": "{0}.infer.pdmodel: Paddle Inference, in int8 (ptq.export.create_int8_predictor)",
    "onnx": "{0}.onnx: ONNX Runtime and OpenVINO, in int8",
}


def quant_post_static(
    executor: Any,
    model_dir: str,
    quantize_model_path: str,
    batch_generator: Any = None,
    sample_generator: Any = None,
    data_loader: Any = None,
    model_filename: str | None = None,
    params_filename: str | None = None,
    save_model_filename: str = "model.pdmodel",
    save_params_filename: str = "model.pdiparams",
    batch_size: int = 1,
    batch_nums: int | None = None,
    scope: Any = None,
    algo: str = "hist",
    round_type: str = "round",
    hist_percent: float = 0.9999,
    bias_correction: bool = False,
    quantizable_op_type: Sequence[str] = WITH_WEIGHTS,
    is_full_quantize: bool = False,
    weight_bits: int = 8,
    activation_bits: int = 8,
    activation_quantize_type: str = "range_abs_max",
    weight_quantize_type: str = "channel_wise_abs_max",
    optimize_model: bool = False,
    onnx_format: bool = True,
    skip_tensor_list: Sequence[str] | None = None,
    deploy_backend: str | None = None,
) -> None:
    """Quantizes a saved float program with calibration data, and saves what runtimes execute.

    Arguments, their order and their defaults are those of PaddleSlim 2.6; static mode is supported, and is as before afterwards.

    Args:
        executor: a `paddle.static.Executor`, which is not needed, or None.
        model_dir: the folder of the program, or its prefix: ``.json`` or ``.pdmodel``.
        quantize_model_path: the folder to write to.
        batch_generator: yields batches: arrays ``[batch, ...]``, one for each input.
        sample_generator: yields samples: arrays without batch axis, one for each input; ``batch_size`` of them make a batch.
        data_loader: a `paddle.io.DataLoader` or what yields batches, as arrays or by the names of inputs.  One of the three is given.
        model_filename, params_filename: the program's files in ``model_dir``.
        save_model_filename: without its ending it names all files that are written.
        save_params_filename: a name; the parameters lie beside each model under the model's name.
        batch_nums: stop after that many batches.
        scope: a `paddle.static.Scope` or None; nothing is put into it.
        algo: rule for activations: ``KL``, ``hist``, ``avg``, ``mse``, ``emd``, ``abs_max``, ``min_max``, as in `quantizers`.
        hist_percent: for ``hist``.
        quantizable_op_type: operators with weights that are quantized.
        is_full_quantize: all operators, and grids on all activations (placement ``full``).
        weight_bits, activation_bits: 2..16.
        activation_quantize_type: ``range_abs_max`` or ``moving_average_abs_max``, which mean the same here.
        weight_quantize_type: ``abs_max``, or ``channel_wise_abs_max``.
        optimize_model: fold batch norms.
        onnx_format: write ONNX too, where the extra ``onnx`` is installed.
        skip_tensor_list: layers that read these tensors stay float.
        deploy_backend: write for one of ``MKLDNN``, ``OpenVINO``, ``ONNXRuntime`` only, and the portable format.
        round_type, bias_correction: ``"round"`` and False; others are refused.

    Raises:
        ConfigError: an argument has a value that is not offered; the message names it.
        ProgramError: the program cannot be read.
        CalibrationError: the data does not fit the program, or there is none.
        ArtifactError: the result cannot be written, or answers otherwise than it should.
    """
    check_executor(executor, scope)
    check_recoveries(round_type, bias_correction)
    is_full, fuse = check_flag("is_full_quantize", is_full_quantize), check_flag("optimize_model", optimize_model)
    activations = activation_quantizer(algo, hist_percent, activation_bits, activation_quantize_type)
    weights = weight_quantizer(weight_quantize_type, weight_bits)
    formats = formats_for(onnx_format, deploy_backend)
    prefix = prefix_of(quantize_model_path, save_model_filename, save_params_filename)
    if not isinstance(model_dir, (str, os.PathLike)):
        raise ConfigError(f"quant_post_static: model_dir must be a folder or the prefix of a program, got {model_dir!r}")
    with dynamic_mode() as static:
        program = load_program(model_dir, model_filename=model_filename, params_filename=params_filename)
        file = find_files(model_dir, None, model_filename, params_filename).model
        batches = batches_of(
            program.input_spec,
            batch_generator=batch_generator,
            sample_generator=sample_generator,
            data_loader=data_loader,
            batch_size=batch_size,
            batch_nums=batch_nums,
            static=static,
        )
        stay_float = float_layers(program, file, quantizable_op_type, is_full, skip_tensor_list)
        config = PTQConfig(activations, weights, placement="full" if is_full else "compute", overrides=dict.fromkeys(stay_float))
        _quantize(ImperativePTQ(config), program, fuse, batches, prefix, formats)


def _quantize(
    engine: ImperativePTQ,
    program: Any,
    fuse: bool,
    batches: Iterator[tuple[np.ndarray[Any, Any], ...]],
    prefix: str,
    formats: Sequence[str],
) -> None:
    calibrated = engine.quantize(program, fuse=fuse)
    try:
        calibrate(calibrated, batches, input_fn=lambda batch: tuple(map(paddle.to_tensor, batch)))
    except NoCalibrationDataError as error:
        raise NoCalibrationDataError("quant_post_static: the generator or loader yields no batch") from error
    written, left_out = _save(engine, engine.convert(calibrated), prefix, program.input_spec, formats)
    for kind, reason in left_out.items():
        print(f"not written, {kind}: {' '.join(reason.split())}")
    for kind in written:
        print(f"runs: {RUNS[kind].format(prefix)}")


def _save(
    engine: ImperativePTQ, model: nn.Layer, prefix: str, input_spec: Sequence[Any], formats: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Saves in as many formats as can hold the model; the portable one must."""
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    reasons: dict[str, str] = {}
    for attempt in dict.fromkeys([tuple(formats), *((kind,) for kind in formats), ()]):
        kinds = ("jit", *attempt)
        try:
            engine.save_quantized_model(model, prefix, input_spec=input_spec, formats=kinds)
        except (ExportError, MissingExtraError) as error:
            if not attempt:
                raise
            reasons.update(dict.fromkeys(attempt, str(error)))
            continue
        break
    return kinds, {kind: reasons[kind] for kind in formats if kind not in kinds}
