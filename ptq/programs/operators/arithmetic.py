"""Operators that compute element by element, and products of matrices."""

from __future__ import annotations

__all__ = ["OPERATORS"]

# Of two tensors; the public function of Paddle has the operator's name.
BINARY = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "floor_divide", "remainder", "fmax", "fmin", "heaviside", "atan2"),
    *("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal", "equal_all"),
    *("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "dot", "kron", "bmm"),
)
# Of one tensor.
UNARY = (
    *("abs", "exp", "log", "log2", "log10", "log1p", "expm1", "sqrt", "rsqrt", "square", "reciprocal", "sign", "floor", "ceil", "trunc"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "tanh"),
    *("logical_not", "bitwise_not", "isnan", "isinf", "isfinite", "numel"),
)
# Activations without a layer of their own here, or whose attributes no layer has.
ACTIVATIONS = {
    "relu": ("F.relu", "x"),
    "relu6": ("F.relu6", "x"),
    "sigmoid": ("F.sigmoid", "x"),
    "silu": ("F.silu", "x"),
    "swish": ("F.swish", "x"),
    "hardswish": ("F.hardswish", "x"),
    "hardsigmoid": ("F.hardsigmoid", "x slope offset"),
    "leaky_relu": ("F.leaky_relu", "x negative_slope"),
    "gelu": ("F.gelu", "x approximate"),
    "elu": ("F.elu", "x alpha"),
    "celu": ("F.celu", "x alpha"),
    "selu": ("F.selu", "x scale alpha"),
    "mish": ("F.mish", "x"),
    "softplus": ("native.softplus", "x beta threshold"),
    "softsign": ("F.softsign", "x"),
    "softshrink": ("F.softshrink", "x threshold"),
    "hardshrink": ("F.hardshrink", "x threshold"),
    "hardtanh": ("F.hardtanh", "x t_min t_max"),
    "thresholded_relu": ("F.thresholded_relu", "x threshold value"),
    "tanh_shrink": ("F.tanhshrink", "x"),
    "logsigmoid": ("F.log_sigmoid", "x"),
    "softmax": ("F.softmax", "x axis"),
    "log_softmax": ("F.log_softmax", "x axis"),
    "prelu": ("native.prelu", "x alpha data_format mode"),
    "swiglu": ("native.swiglu", "x y"),
    "maxout": ("F.maxout", "x groups axis"),
    "stanh": ("native.stanh", "x scale_a scale_b"),
}
OPERATORS: dict[str, tuple[str, str]] = {
    **{name: (f"paddle.{name}", "x y") for name in BINARY},
    **{name: (f"paddle.{name}", "x") for name in UNARY},
    **ACTIVATIONS,
    "trunc": ("paddle.trunc", "input"),
    "round": ("native.round", "x decimals"),
    "scale": ("paddle.scale", "x scale:n bias bias_after_scale"),
    "pow": ("native.pow", "x y:n"),
    "elementwise_pow": ("paddle.pow", "x y"),
    "clip": ("replayed.clip", "x min:n max:n"),
    "matmul": ("paddle.matmul", "x y transpose_x transpose_y"),
    "legacy_matmul": ("replayed.legacy_matmul", "x y transpose_x transpose_y alpha"),
    "matmul_with_flatten": ("replayed.matmul_with_flatten", "x y x_num_col_dims y_num_col_dims"),
    "addmm": ("native.addmm", "input x y beta alpha"),
    "mv": ("paddle.mv", "x vec"),
    "cross": ("native.cross", "x y axis"),
    "einsum": ("replayed.einsum", "x equation"),
    "lerp": ("native.lerp", "x y weight"),
    "increment": ("paddle.scale", "x =1.0 value"),
    "where": ("paddle.where", "condition x y"),
    "cast": ("paddle.cast", "x dtype"),
    "isclose": ("native.isclose", "x y rtol:n atol:n equal_nan"),
    "allclose": ("native.allclose", "x y rtol:n atol:n equal_nan"),
    "label_smooth": ("native.label_smooth", "label prior_dist epsilon"),
    "bilinear": ("native.bilinear", "x y weight bias"),
    "affine_channel": ("native.affine_channel", "x scale bias data_layout"),
    "rnn": ("native.rnn", "x pre_state weight_list sequence_length dropout_state_in dropout_prob is_bidirec input_size hidden_size "
        "num_layers mode seed is_test"),
    "layer_norm": ("native.layer_norm", "x scale bias epsilon begin_norm_axis"),
    "rms_norm": ("native.rms_norm", "x scale normalized_shape epsilon"),
    "batch_norm": ("native.batch_norm", "x mean variance scale bias is_test momentum epsilon data_format use_global_stats "
        "trainable_statistics"),
    "group_norm": ("native.group_norm", "x scale bias epsilon groups data_format"),
    "instance_norm": ("native.instance_norm", "x scale bias epsilon"),
    "norm": ("native.norm", "x axis epsilon is_test"),
}  # fmt: skip
