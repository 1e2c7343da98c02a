"""The rewritten ONNX graph answers what the simulated one answers, both run by ONNX's own reference implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptq.export.onnx.rewrite import rewrite

onnx = pytest.importorskip("onnx")
helper, to_tensor = onnx.helper, onnx.numpy_helper.from_array
FLOAT = onnx.TensorProto.FLOAT
RANDOM = np.random.default_rng(0)


class Sketch:
    """Writes simulated quantization as the converter from Paddle does, node by node."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.count = 0

    def op(self, op_type: str, *inputs: Any, **attributes: Any) -> str:
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.count += 1
        self.nodes.append(helper.make_node(op_type, names, [f"v{self.count}"], name=f"{op_type}.{self.count}", **attributes))
        return f"v{self.count}"

    def constant(self, array: Any, name: str = "") -> str:
        self.count += 1
        self.nodes.append(helper.make_node("Constant", [], [name or f"c{self.count}"], value=to_tensor(np.asarray(array))))
        return name or f"c{self.count}"

    def grid(self, value: str, scale: float, zero_point: float = 0, bits: int = 8) -> str:
        s, z = self.constant(np.float32(scale)), self.constant(np.float32(zero_point))
        low, high = (self.op("Squeeze", self.op("Identity", np.float32([end]))) for end in (0, 2**bits - 1))
        clipped = self.op("Clip", self.op("Add", self.op("Round", self.op("Identity", self.op("Div", value, s))), z), low, high)
        return self.op("Mul", self.op("Identity", self.op("Sub", clipped, z)), s)

    def weight(self, *shape: int, scale: Any, name: str = "", dtype: Any = np.int8) -> str:
        integers = RANDOM.integers(-127, 128, shape).astype(dtype)
        return self.op("Mul", self.op("Cast", self.constant(integers, name), to=FLOAT), np.asarray(scale, np.float32))

    def model(self, output: str, *shape: int | str, rank: int = 4) -> Any:
        given = helper.make_tensor_value_info("x", FLOAT, shape)
        answer = helper.make_tensor_value_info(output, FLOAT, [None] * rank)
        graph = helper.make_graph(self.nodes, "sketch", [given], [answer])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(model: Any, x: np.ndarray) -> np.ndarray:
    if count(model, "QuantizeLinear"):  # the reference implementation has them from opset 19 on
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        copy.opset_import[0].version = 19
        model = copy
    return np.asarray(onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0])


def types(model: Any) -> list[str]:
    return sorted(node.op_type for node in model.graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear"))


def count(model: Any, op_type: str) -> int:
    return sum(node.op_type == op_type for node in model.graph.node)


def checked(simulated: Any, x: np.ndarray, names: dict[str, str] | None = None) -> Any:
    """The rewritten model, after it was found valid and equal to the simulated one."""
    before = simulated.SerializeToString()
    model = rewrite(simulated, names or {})
    assert simulated.SerializeToString() == before
    onnx.checker.check_model(model, full_check=True)
    expected = answer(simulated, x)
    np.testing.assert_allclose(answer(model, x), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    return model


def convolution(s: Sketch, x: str, bias: np.ndarray, **scales: Any) -> str:
    w = s.weight(len(bias), 3, 3, 3, scale=scales.get("scale", np.linspace(0.01, 0.02, len(bias)).reshape(-1, 1, 1, 1)), name="w")
    return s.op("Add", s.op("Conv", x, w, pads=[1, 1, 1, 1]), s.op("Reshape", np.float32(bias), np.int64([1, -1, 1, 1])))


def test_convolution_with_bias() -> None:
    s = Sketch()
    y = convolution(s, s.grid("x", 0.02, 128), np.float32([0.5, -1, 0.25, 2]))
    y = s.grid(s.op("Relu", y), 0.05)
    model = checked(s.model(y, "n", 3, 6, 6), RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32), {"w": "stem.conv.weight_quantized"})
    assert types(model) == ["Conv"]  # the grid cuts off what the ReLU would
    assert [node.name for node in model.graph.node if node.op_type == "Conv"] == ["stem.conv"]
    stored = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    assert stored["stem.conv.weight_quantized"].dtype == np.int8
    bias = next(array for name, array in stored.items() if array.dtype == np.int32 and array.any())
    np.testing.assert_array_equal(bias, np.rint(np.float32([0.5, -1, 0.25, 2]) / (0.02 * np.linspace(0.01, 0.02, 4))))
    grids = [array for name, array in stored.items() if array.dtype == np.uint8]
    assert all(array.shape == () for array in grids)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


def test_bias_stored_as_integers_keeps_them() -> None:
    s = Sketch()
    scale, steps = np.linspace(0.01, 0.02, 4).astype(np.float32), np.int32([70_001, -3, 0, 123_456_789])
    bias = s.op("Mul", s.op("Cast", steps, to=FLOAT), np.float32(0.02) * scale)
    product = s.op("Conv", s.grid("x", 0.02, 128), s.weight(4, 3, 1, 1, scale=scale.reshape(-1, 1, 1, 1)))
    y = s.op("Add", product, s.op("Reshape", bias, np.int64([1, -1, 1, 1])))
    model = rewrite(s.model(y, "n", 3, 6, 6), {})
    stored = [onnx.numpy_helper.to_array(item) for item in model.graph.initializer if item.data_type == onnx.TensorProto.INT32]
    assert any(np.allclose(array, steps, rtol=1e-7, atol=0) for array in stored)


def test_bias_of_a_dead_channel_keeps_its_value() -> None:
    s = Sketch()
    scale = np.array([0.01, 1e-12, 0.01], np.float32).reshape(-1, 1, 1, 1)
    y = convolution(s, s.grid("x", 0.02, 128), np.float32([0.5, 3, -1]), scale=scale)
    model = checked(s.model(s.grid(y, 0.05, 128), "n", 3, 6, 6), RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32))
    assert types(model) == ["Conv"]
    int32 = [onnx.numpy_helper.to_array(item) for item in model.graph.initializer if item.data_type == onnx.TensorProto.INT32]
    assert max(np.abs(array.astype(np.int64)).max() for array in int32) <= 2**30


def test_grids_are_merged() -> None:
    s = Sketch()
    x = s.grid("x", 0.02, 128)
    twice, beside = s.grid(x, 0.02, 128), s.grid("x", 0.02, 128)
    other = s.grid(x, 0.04, 128)
    finer = s.grid("x", 0.015, 128)
    y = s.op("Add", s.op("Add", twice, beside), s.op("Add", other, finer))
    model = checked(s.model(y, "n", 3, 6, 6), RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32))
    assert count(model, "QuantizeLinear") == 3


@pytest.mark.parametrize(
    ("activation", "zero_point", "scale", "is_kept"),
    [
        (("Relu",), 0, 0.02, False),
        (("Relu",), 3, 0.02, True),
        (("Clip", np.float32(0), np.float32(6)), 0, 6 / 255, False),
        (("Clip", np.float32(0), np.float32(6)), 0, 0.02, False),
        (("Clip", np.float32(0), np.float32(6)), 0, 7 / 255, True),
        (("Clip", np.float32(-1.1), np.float32(1.1)), 128, 2 / 255, False),
        (("Clip", np.float32(-0.9), np.float32(1)), 128, 2 / 255, True),
    ],
)
def test_activations_that_the_grid_implies_are_dropped(activation: Any, zero_point: int, scale: float, is_kept: bool) -> None:
    s = Sketch()
    op_type, *bounds = activation
    y = s.grid(s.op(op_type, s.op("Mul", "x", np.float32(4)), *bounds), scale, zero_point)
    model = checked(s.model(y, "n", 3, 6, 6), RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32))
    assert types(model) == sorted(["Mul", *([op_type] if is_kept else [])])


def test_a_zero_point_between_integers_is_no_grid() -> None:
    s = Sketch()
    model = checked(s.model(s.grid("x", 0.02, 127.5), "n", 3, 6, 6), RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32))
    assert count(model, "QuantizeLinear") == 0


def test_halves_round_to_even() -> None:
    s = Sketch()
    ties = (np.arange(-140, 140, dtype=np.float32) + np.float32(0.5)).reshape(1, 1, 4, 70) * np.float32(0.25)
    y = s.grid("x", 0.25, 128)
    simulated = s.model(y, "n", 1, 4, 70)
    np.testing.assert_array_equal(answer(rewrite(simulated, {}), ties), answer(simulated, ties))


@pytest.mark.parametrize(
    ("move", "integers"),
    [
        (lambda s, x: s.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), "MaxPool"),
        (lambda s, x: s.op("Resize", x, "", np.float32([1, 1, 2, 2]), mode="nearest", nearest_mode="floor"), "Resize"),
        (lambda s, x: s.op("Transpose", s.op("Reshape", x, np.int64([0, 3, 9, 4])), perm=[0, 1, 3, 2]), "Transpose"),
        (lambda s, x: s.op("Pad", x, np.int64([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(0)), "Pad"),
        (lambda s, x: s.op("Slice", x, np.int64([1]), np.int64([5]), np.int64([2])), "Slice"),
    ],
)
def test_moving_operations_move_integers(move: Any, integers: str) -> None:
    s = Sketch()
    moved = move(s, s.grid("x", 0.02, 100))
    y = s.grid(s.op("Add", moved, np.float32(1)), 0.04, 128)
    model = checked(s.model(y, "n", 3, 6, 6), RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32))
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    kinds = {item.name: item.type.tensor_type.elem_type for item in inferred.graph.value_info}
    node = next(node for node in model.graph.node if node.op_type == integers)
    assert kinds[node.output[0]] == onnx.TensorProto.UINT8
    assert count(model, "QuantizeLinear") == 2


def test_what_is_between_the_grids_stays_float() -> None:
    s = Sketch()
    y = s.grid(s.op("Resize", s.grid("x", 0.02, 100), "", np.float32([1, 1, 2, 2]), mode="linear"), 0.02, 100)
    model = rewrite(s.model(y, "n", 3, 6, 6), {})
    assert count(model, "QuantizeLinear") == 2  # an interpolated value is on no grid


@pytest.mark.parametrize(("shape", "kinds"), [(("n", 5), ["Gemm"]), (("n", 7, 5), ["Add", "MatMul"])])
def test_linear_of_matrices_becomes_gemm(shape: tuple[Any, ...], kinds: list[str]) -> None:
    s = Sketch()
    product = s.op("MatMul", s.grid("x", 0.02, 128), s.weight(5, 4, scale=[[0.01, 0.02, 0.03, 0.04]]))
    y = s.op("Add", product, np.float32([1, 2, 3, 4]))
    model = checked(s.model(y, *shape, rank=len(shape)), RANDOM.standard_normal((3, *shape[1:])).astype(np.float32))
    assert types(model) == kinds


def test_tied_weight_is_transposed_once() -> None:
    s = Sketch()
    w = s.op("Transpose", s.weight(4, 5, scale=np.full((4, 1), 0.01)), perm=[1, 0])
    y = s.op("MatMul", s.grid("x", 0.02, 128), w)
    model = checked(s.model(y, "n", 5, rank=2), RANDOM.standard_normal((3, 5)).astype(np.float32))
    assert types(model) == ["Gemm"]


def test_mean_over_pixels_becomes_a_pool() -> None:
    s = Sketch()
    mean = s.op("ReduceMean", s.grid("x", 0.02, 128), axes=[2, 3], keepdims=0)
    y = s.op("Add", s.grid(mean, 0.01, 128), np.float32(1))
    model = checked(s.model(y, "n", 3, 6, 6, rank=2), RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32))
    assert types(model) == ["Add", "GlobalAveragePool", "Reshape"]


@pytest.mark.parametrize("bits", [4, 16])
def test_other_widths_stay_plain(bits: int) -> None:
    s = Sketch()
    y = s.op("Conv", s.grid("x", 3.0 / 2**bits, 2 ** (bits - 1), bits), s.weight(4, 3, 1, 1, scale=0.01, dtype=np.int16))
    model = checked(s.model(y, "n", 3, 6, 6), RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32))
    assert count(model, "QuantizeLinear") == 0
    assert count(model, "Round") == 1


def test_flatten_asks_for_no_shape() -> None:
    s = Sketch()
    pooled = s.op("GlobalAveragePool", "x")
    batch = s.op("Slice", s.op("Shape", pooled), np.int64([0]), np.int64([1]), np.int64([0]))
    y = s.op("Reshape", pooled, s.op("Concat", batch, np.int64([-1]), axis=0))
    model = checked(s.model(y, "n", 3, 6, 6, rank=2), RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32))
    assert types(model) == ["GlobalAveragePool", "Reshape"]


def test_a_shape_of_another_value_is_kept() -> None:
    s = Sketch()
    sizes = [s.op("Slice", s.op("Shape", "x"), np.int64([axis]), np.int64([axis + 1]), np.int64([0])) for axis in (2, 0)]
    y = s.op("Reshape", "x", s.op("Concat", sizes[0], sizes[1], np.int64([3]), axis=0))
    model = checked(s.model(y, "n", 3, "h", rank=3), RANDOM.standard_normal((2, 3, 6)).astype(np.float32))
    assert "Shape" in types(model)
