"""The grids of placement ``full`` in the files: the listed ones and no others, and their tensors lie on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from models import converted, data, randomize_norms
from paddle import nn
from paddle.static import InputSpec
from placement_cases import RESNET20_GRIDS, full

from benchmarks.real_nets import ResNet20
from ptq.export.inference.artifact import write_inference
from ptq.export.jit.program import write_jit
from ptq.export.onnx.write import parameter_names, write_onnx
from ptq.layers.gridded import grids_of

X = data(2, 3, 32, 32, seed=3)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Layer, Path]:
    """ResNet-20 with seeded weights, and the prefix of its portable files."""
    paddle.seed(0)
    model = converted(randomize_norms(ResNet20()), data(4, 3, 32, 32), config=full(), fuse=True)
    prefix = tmp_path_factory.mktemp("grids") / "m"
    write_jit(model, str(prefix), [InputSpec([None, 3, 32, 32], "float32")])
    return model, prefix


def test_in_the_onnx_file(saved: tuple[nn.Layer, Path]) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model, prefix = saved
    file = prefix.with_suffix(".onnx")
    write_onnx(str(prefix), file, prefix.with_suffix(".simulated.onnx"), parameter_names(model))
    graph = onnx.load(str(file))
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in graph.graph.initializer}
    nodes = [node for node in graph.graph.node if node.op_type == "QuantizeLinear" and not node.name.endswith(":again")]
    sites = {node.output[0]: node.name.removesuffix(":quantize") for node in nodes}
    assert sorted(sites.values()) == sorted(RESNET20_GRIDS)
    for node in nodes:
        grid = grids_of(model)[sites[node.output[0]]]
        assert constants[node.input[1]] == np.float32(grid.input_scale)
        assert constants[node.input[2]] == int(grid.input_zero_point)
        assert constants[node.input[2]].dtype == np.uint8
    reals = [node.output[0] for node in graph.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in sites]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in reals if name not in {o.name for o in graph.graph.output})
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = dict(zip((o.name for o in session.get_outputs()), session.run(None, {session.get_inputs()[0].name: X.numpy()}), strict=True))
    by_output = {node.output[0]: node for node in graph.graph.node}
    for name in reals:
        scale, zero_point = (float(constants[item]) for item in by_output[name].input[1:3])
        integers = answers[name].astype(np.float64) / scale + zero_point
        assert np.abs(integers - np.rint(integers)).max() < 1e-3, name
        assert 0 <= np.rint(integers).min() <= np.rint(integers).max() <= 255, name


def test_in_the_paddle_inference_file(saved: tuple[nn.Layer, Path]) -> None:
    model, prefix = saved
    write_inference(str(prefix), str(prefix), parameter_names(model))
    with paddle.pir_utils.OldIrGuard():
        program = paddle.static.Program.parse_from_string(Path(f"{prefix}.infer.pdmodel").read_bytes())
        counts: dict[str, int] = {}
        for op in program.global_block().ops:
            counts[op.type] = counts.get(op.type, 0) + 1
    assert counts["quantize_linear"] == len(RESNET20_GRIDS)
