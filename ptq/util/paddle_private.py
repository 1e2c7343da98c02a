"""Names that Paddle keeps to itself and this project cannot do without: all of them, so that another Paddle is held against one file.

Classes and modules are re-exported, functions wrapped under names that say what they do.  `ATTRIBUTES` lists what is read or written on
Paddle's own objects where they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paddle import _C_ops as C_OPS
from paddle import pir
from paddle.base import core
from paddle.base.framework import EagerParamBase, OpProtoHolder, convert_np_dtype_to_dtype_
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.nn.layer.rnn import RNNBase
from paddle.nn.quant.quant_layers import MAOutputScaleLayer, MovingAverageAbsMaxScale
from paddle.nn.utils.spectral_norm_hook import SpectralNorm
from paddle.nn.utils.weight_norm_hook import WeightNorm
from paddle.pir_utils import IrGuard, OldIrGuard

__all__ = [
    "ATTRIBUTES",
    "C_OPS",
    "EagerParamBase",
    "IrGuard",
    "MAOutputScaleLayer",
    "MovingAverageAbsMaxScale",
    "OldIrGuard",
    "RNNBase",
    "SpectralNorm",
    "StaticFunction",
    "Value",
    "WeightNorm",
    "clipped_gradient",
    "core",
    "legacy_type",
    "needed_outputs",
    "paddle_dtype",
    "pir",
    "write_program",
]

Value = pir.Value

# Attributes of Paddle's objects, by the class that has them; the test that holds a Paddle against this file makes one of each.
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "Layer": (
        *("_parameters", "_buffers", "_sub_layers", "_forward_pre_hooks", "_forward_post_hooks"),
        *(
            "_forward_pre_hooks_with_kwargs_flag",
            "_forward_post_hooks_with_kwargs_flag",
            "_forward_post_hooks_always_called",
            "_original_funcs",
        ),
        "_dtype",
    ),
    "Tensor": ("_is_initialized", "inplace_version"),
    "Value": ("id", "get_defining_op", "all_used_ops", "is_dense_tensor_type", "initialized"),
    "Conv2D": ("_groups", "_in_channels", "_data_format", "_stride", "_dilation", "_padding_mode", "_kernel_size"),
    "BatchNorm": ("_act", "_data_layout", "_use_global_stats", "_trainable_statistics"),
    "BatchNorm2D": ("_mean", "_variance", "_epsilon", "_data_format", "_use_global_stats"),
    "LSTM": ("_all_weights", "_flat_weight"),
    "Embedding": ("_padding_idx", "_max_norm", "_num_embeddings"),
    "MAOutputScaleLayer": ("_layer",),
    "QuantConfig": ("_specify", "_get_config_by_layer", "_layer2config", "_customized_qat_layer_mapping"),
    "QuanterFactory": ("_instance",),
    "Optimizer": ("_parameter_list", "_param_groups"),
}


def paddle_dtype(dtype: Any) -> Any:
    """Paddle's own object for a dtype that is given by name or as NumPy's."""
    return convert_np_dtype_to_dtype_(dtype)


def clipped_gradient(x: Any, gradient: Any, low: float, high: float) -> Any:
    """The gradient of ``x`` clipped to ``[low, high]``: that of the result where nothing is clipped, else 0, in one pass."""
    return C_OPS.clip_grad(x, gradient, low, high)  # type: ignore[no-untyped-call]


def legacy_type(dtype: str) -> int:
    """The number that a legacy program stores for a dtype."""
    return int(core.VarDesc.VarType.BF16) if dtype == "bfloat16" else int(convert_np_dtype_to_dtype_(dtype))


def needed_outputs(kind: str) -> Iterator[str]:
    """Names of the output slots that a legacy operator cannot do without."""
    return (slot.name for slot in OpProtoHolder.instance().get_op_proto(kind).outputs if not slot.dispensable)


def write_program(program: Any, path: str, *, readable: bool = False, trainable: bool = False) -> None:
    """Writes a PIR program as JSON, over what is there.

    Args:
        program: a `paddle.static.Program` made inside `IrGuard`.
        path: of the file.
        readable: with indents.
        trainable: with what training needs to know of its parameters.
    """
    core.serialize_pir_program(program, path, True, readable, trainable)
