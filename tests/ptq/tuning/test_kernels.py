"""Kernels are attributed to the layers that they are made of, or follow, and conversions to their tensors."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from ptq.placement.units import NO_UNIT
from ptq.runtimes.profile import NodeTime
from ptq.tuning.kernels import Attribution

ORDER = {NO_UNIT: -1, "a": 0, "b": 1}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """``x`` on a grid, layer ``a``, a HardSwish, a grid, layer ``b``, added to what ``a`` computed."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["x8"], "input#0:quantize"),
        helper.make_node("DequantizeLinear", ["x8", "s"], ["x1"], "input#0:dequantize"),
        helper.make_node("Conv", ["x1", "w"], ["a1"], "a"),
        helper.make_node("HardSwish", ["a1"], ["swish"], "HardSwish.0"),
        helper.make_node("QuantizeLinear", ["swish", "s"], ["s8"], "hardswish#0:quantize"),
        helper.make_node("DequantizeLinear", ["s8", "s"], ["s1"], "hardswish#0:dequantize"),
        helper.make_node("Conv", ["s1", "w"], ["b1"], "b"),
        helper.make_node("Add", ["b1", "a1"], ["y"], "Add.7"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "w", "s", "y")]
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "net", values[:3], values[3:])), str(path))
    return path


def test_each_kernel_belongs_to_a_layer_or_a_conversion(file: Path) -> None:
    attribution = Attribution(file, ORDER, {"input#0", "hardswish#0"})
    kernels = [
        NodeTime(("input#0:quantize",), 1.0),
        NodeTime(("a_token_7",), 2.0),
        NodeTime(("Mul_526",), 4.0),  # a part of the HardSwish that the runtime gave a name of its own
        NodeTime(("hardswish#0:quantize_token_3",), 8.0),
        NodeTime(("b/WithoutBiases", "unknown", "Add.7"), 16.0),
        NodeTime(("hardswish#0:dequantize",), 32.0),
    ]
    found = attribution.times(kernels)
    assert found.layers == {"a": 6.0 + 32.0, "b": 16.0}
    assert found.enter == {"input#0": 1.0, "hardswish#0": 8.0}
    assert found.leave == {}
    assert found.total == sum(kernel.seconds for kernel in kernels)


def test_a_tensor_that_leaves_integers_for_a_float_layer_is_a_conversion(file: Path) -> None:
    found = Attribution(file, ORDER, {"input#0", "hardswish#0"}, {"hardswish#0"}).times([NodeTime(("hardswish#0:dequantize",), 3.0)])
    assert (found.layers, found.leave) == ({}, {"hardswish#0": 3.0})


def test_a_kernel_that_computes_more_than_a_conversion_is_none(file: Path) -> None:
    found = Attribution(file, ORDER, {"hardswish#0"}).times([NodeTime(("HardSwish.0", "hardswish#0:quantize"), 5.0)])
    assert (found.layers, found.enter) == ({"a": 5.0}, {})
