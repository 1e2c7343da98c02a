"""Which legacy operation stands for which operation of the portable program: one line each, for all that need no thought.

A line is ``kind: type(inputs) -> outputs; attributes``.  An input ``@name`` is a constant list that becomes the attribute ``name``,
``#name`` a constant number; an attribute ``new=old`` is called ``old`` in the portable program.  Every legacy type is one that the
OpenVINO engine knows; outputs that it does not need are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["RULES", "Rule"]

WINDOW = "strides, paddings, padding_algorithm, dilations, groups, data_format"
POOL = "strides, paddings, ceil_mode, exclusive, data_format, pooling_type, global_pooling, adaptive, padding_algorithm"
TABLE = f"""
conv2d: conv2d(Input, Filter) -> Output; {WINDOW}
depthwise_conv2d: depthwise_conv2d(Input, Filter) -> Output; {WINDOW}
conv2d_transpose: conv2d_transpose(Input, Filter, @output_size) -> Output; output_padding, {WINDOW}
depthwise_conv2d_transpose: conv2d_transpose(Input, Filter, @output_size) -> Output; output_padding, {WINDOW}
pool2d: pool2d(X, @ksize) -> Out; {POOL}
max_pool2d_with_index: max_pool2d_with_index(X) -> Out, Mask; ksize=kernel_size, strides, paddings, global_pooling, adaptive, ceil_mode
matmul: matmul_v2(X, Y) -> Out; trans_x=transpose_x, trans_y=transpose_y
bmm: bmm(X, Y) -> Out
add: elementwise_add(X, Y) -> Out; axis
subtract: elementwise_sub(X, Y) -> Out
multiply: elementwise_mul(X, Y) -> Out
divide: elementwise_div(X, Y) -> Out
maximum: elementwise_max(X, Y) -> Out
minimum: elementwise_min(X, Y) -> Out
elementwise_pow: elementwise_pow(X, Y) -> Out
floor_divide: elementwise_floordiv(X, Y) -> Out
remainder: elementwise_mod(X, Y) -> Out
equal: equal(X, Y) -> Out
not_equal: not_equal(X, Y) -> Out
greater_than: greater_than(X, Y) -> Out
greater_equal: greater_equal(X, Y) -> Out
less_than: less_than(X, Y) -> Out
logical_and: logical_and(X, Y) -> Out
logical_or: logical_or(X, Y) -> Out
logical_not: logical_not(X) -> Out
where: where(Condition, X, Y) -> Out
relu: relu(X) -> Out
relu6: relu6(X) -> Out
leaky_relu: leaky_relu(X) -> Out; alpha=negative_slope
elu: elu(X) -> Out; alpha
gelu: gelu(X) -> Out; approximate
silu: silu(X) -> Out
swish: swish(X) -> Out
sigmoid: sigmoid(X) -> Out
hardsigmoid: hard_sigmoid(X) -> Out; slope, offset
hardswish: hard_swish(X) -> Out
softplus: softplus(X) -> Out; beta, threshold
softshrink: softshrink(X) -> Out; lambda=threshold
tanh: tanh(X) -> Out
exp: exp(X) -> Out
log: log(X) -> Out
sqrt: sqrt(X) -> Out
rsqrt: rsqrt(X) -> Out
abs: abs(X) -> Out
sin: sin(X) -> Out
cos: cos(X) -> Out
floor: floor(X) -> Out
ceil: ceil(X) -> Out
round: round(X) -> Out
pow: pow(X) -> Out; factor=y
softmax: softmax(X) -> Out; axis
layer_norm: layer_norm(X, Scale, Bias) -> Y, Mean, Variance; epsilon, begin_norm_axis
group_norm: group_norm(X, Scale, Bias) -> Y, Mean, Variance; epsilon, groups, data_layout=data_format
clip: clip(X, #min, #max) -> Out
scale: scale(X, #scale) -> Out; bias, bias_after_scale
transpose: transpose2(X) -> Out; axis=perm
reshape: reshape2(X, @shape) -> Out
flatten: flatten_contiguous_range(X) -> Out; start_axis, stop_axis
squeeze: squeeze2(X, @axes) -> Out
unsqueeze: unsqueeze2(X, @axes) -> Out
concat: concat(X, #axis) -> Out
stack: stack(X) -> Y; axis
split: split(X, @sections, #axis) -> Out
split_with_num: split(X, #axis) -> Out; num
unstack: unstack(X) -> Y; axis, num
slice: slice(Input, @starts, @ends) -> Out; axes, infer_flags, decrease_axis
pad3d: pad3d(X, @paddings) -> Out; mode, value=pad_value, data_format
tile: tile(X, @repeat_times) -> Out
gather: gather(X, Index, #axis) -> Out
gather_nd: gather_nd(X, Index) -> Out
index_select: index_select(X, Index) -> Out; dim=axis
embedding: lookup_table_v2(Ids, W) -> Out; padding_idx
cumsum: cumsum(X, #axis) -> Out; flatten, exclusive, reverse
roll: roll(X, @shifts) -> Out; axis
shape: shape(Input) -> Out
assign: assign(X) -> Out
share_data: share_data(X) -> Out
"""


@dataclass(frozen=True)
class Rule:
    """The legacy type, the names of its inputs and outputs in order, and its attributes with their portable names."""

    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: tuple[tuple[str, str], ...]


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _rule(line: str) -> tuple[str, Rule]:
    match = re.fullmatch(r"(\w+): (\w+)\((.*)\) -> ([^;]*)(?:; (.*))?", line)
    if match is None:
        raise ValueError(f"not a rule of the table: {line}")
    kind, legacy, inputs, outputs, attrs = match.groups()
    pairs = [name.partition("=") for name in _names(attrs or "")]
    return kind, Rule(legacy, _names(inputs), _names(outputs), tuple((new, old or new) for new, _, old in pairs))


RULES: dict[str, Rule] = dict(map(_rule, TABLE.strip().splitlines()))
