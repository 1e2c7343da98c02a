"""Every operator, in both formats, answers as the net that was saved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import operator_cases
import paddle
import pytest
from operator_cases import CASES, Net, arrays

import ptq
from ptq.programs.layers import LAYERS
from ptq.programs.opening import open_program
from ptq.programs.operators import OPERATORS
from ptq.programs.recording import record

# What 301 published Paddle models are made of, by how many use it.
COMMON = """
add full matmul reshape scale slice transpose conv2d unsqueeze cast softmax multiply subtract relu batch_norm flatten pool2d
layer_norm dropout concat gelu stack equal depthwise_conv2d divide shape64 embedding tanh cumsum squeeze full_like sigmoid not_equal
hardsigmoid greater_than sum mean pow nearest_interp clip floor meshgrid tile minimum hardswish assign_value maximum one_hot sqrt
split_with_num where topk max gather_nd prod gather strided_slice min expand split exp floor_divide set_value abs log elementwise_pow
less_than bilinear_interp index_select scatter swish relu6 p_norm pad3d einsum roll group_norm conv2d_transpose grid_sample bmm leaky_relu
rsqrt silu swiglu deformable_conv roi_align
"""
# Paddle 3.3 cannot save these in the legacy format: their Python functions take values of the new representation only.
NEW_ONLY = {
    *("tanh", "sin", "cos", "exp", "floor", "ceil", "abs", "sign", "isnan", "isfinite", "log", "log2", "log1p", "sqrt", "rsqrt", "sigmoid"),
    *("multiply", "maximum", "minimum", "greater_than", "logical_and", "logical_or", "logical_not", "gelu", "gelu_tanh", "softplus"),
    *("matmul", "matmul_turned", "bmm", "sum", "any", "all", "argmax", "logsumexp", "expand_as", "roll", "tril", "grid_sample"),
    *("linear_turned", "lstm_fixed", "parameter_raw"),
    *(name for name, case in CASES.items() if not case.legacy),
}


@pytest.fixture(scope="module")
def new_format(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name in CASES:
        operator_cases.save(name, folder)
    return folder


@pytest.fixture(scope="module")
def legacy_format(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("legacy")
    environment = {**os.environ, "FLAGS_enable_pir_api": "0"}
    command = [sys.executable, "-W", "ignore", operator_cases.__file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def _check(name: str, program: Path, same_dtype: bool) -> None:
    case = CASES[name]
    held = {operation.name for operation in record(open_program(program)[0])[0].operations}
    assert held & set(case.operator.split("|")), f"the program of {name} has no {case.operator}, it has {sorted(held)}"
    paddle.seed(7)
    net = Net(case)
    net.eval()
    inputs = [paddle.to_tensor(array) for array in arrays(case)]
    layer = ptq.load_program(program)
    with paddle.no_grad():
        expected, got = paddle.utils.flatten(net(*inputs)), paddle.utils.flatten(layer(*inputs))
    assert len(expected) == len(got)
    for want, have in zip(expected, got, strict=True):
        assert list(want.shape) == list(have.shape)
        assert want.dtype == have.dtype or not same_dtype
        np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_new_format(name: str, new_format: Path) -> None:
    _check(name, new_format / f"{name}.json", same_dtype=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in NEW_ONLY])
def test_legacy_format(name: str, legacy_format: Path) -> None:
    program = legacy_format / f"{name}.pdmodel"
    assert program.is_file(), f"Paddle did not save {name}"
    _check(name, program, same_dtype=name != "shape64")  # legacy shapes are int32


def test_common_operators_are_known_and_tried(new_format: Path) -> None:
    known = {*OPERATORS, *LAYERS, "dropout"}
    assert not [name for name in COMMON.split() if name not in known]
    tried = {operation.name for name in CASES for operation in record(open_program(new_format / f"{name}.json")[0])[0].operations}
    assert not [name for name in COMMON.split() if name not in tried]


def test_traced_operators_answer_alike(new_format: Path, tmp_path: Path) -> None:
    """What a loaded program computes while being traced is what it computes otherwise."""
    for name in ("nearest_sized", "reshape_computed", "slice_computed", "lstm", "conv1d", "arange", "einsum", "topk", "set_value"):
        layer = ptq.load_program(new_format / name)
        paddle.jit.save(layer, str(tmp_path / name), input_spec=layer.input_spec)
        inputs = [paddle.to_tensor(array) for array in arrays(CASES[name])]
        with paddle.no_grad():
            expected = paddle.utils.flatten(layer(*inputs))
            got = paddle.utils.flatten(paddle.jit.load(str(tmp_path / name))(*inputs))
        for want, have in zip(expected, got, strict=True):
            np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-6, atol=1e-6, err_msg=name)
