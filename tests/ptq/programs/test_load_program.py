"""From all the ways in which Paddle has saved programs, to a layer that can be used like any other."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.base import core
from paddle.static import InputSpec
from program_nets import LCNet, Mixed, Tied, answers, one_file_each, picture, save

import ptq
from ptq import ImperativePTQ, PTQConfig

X = picture(2, 3, 8, 8)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    paddle.seed(0)
    prefix = tmp_path_factory.mktemp("program") / "model"
    save(Mixed(), prefix, [None, 3, None, None])
    return prefix


@pytest.fixture
def legacy(legacy_program: Path) -> Path:
    return legacy_program


@pytest.fixture
def expected(program: Path) -> np.ndarray:
    return answers(ptq.load_program(program), X)[0]


def test_paths(program: Path, expected: np.ndarray, tmp_path: Path) -> None:
    for path in (program, str(program), f"{program}.json"):
        np.testing.assert_array_equal(answers(ptq.load_program(path), X)[0], expected)
    for name in ("inference", "model", "anything"):
        folder = tmp_path / name
        folder.mkdir()
        for suffix in (".json", ".pdiparams"):
            shutil.copy(f"{program}{suffix}", folder / f"{name}{suffix}")
        np.testing.assert_array_equal(answers(ptq.load_program(folder), X)[0], expected)
    shutil.move(tmp_path / "model" / "model.pdiparams", tmp_path / "elsewhere")
    moved = ptq.load_program(tmp_path / "model" / "model", params_path=tmp_path / "elsewhere")
    np.testing.assert_array_equal(answers(moved, X)[0], expected)


def test_legacy_folders(legacy: Path, tmp_path: Path) -> None:
    expected = answers(ptq.load_program(legacy), X)[0]
    paddle.seed(0)
    net = Mixed()
    net.eval()
    np.testing.assert_allclose(expected, answers(net, X)[0], atol=1e-6)
    for model, parameters in (("__model__", "__params__"), ("custom", "weights")):
        folder = tmp_path / model
        folder.mkdir()
        shutil.copy(f"{legacy}.pdmodel", folder / model)
        shutil.copy(f"{legacy}.pdiparams", folder / parameters)
        names = {"model_filename": model, "params_filename": parameters} if model == "custom" else {}
        np.testing.assert_array_equal(answers(ptq.load_program(folder, **names), X)[0], expected)


def test_a_legacy_parameter_that_nothing_reads(legacy: Path, tmp_path: Path) -> None:
    """It is in the file of parameters among the others; Paddle's translation forgets it."""
    expected = answers(ptq.load_program(legacy), X)[0]
    description = core.ProgramDesc(Path(f"{legacy}.pdmodel").read_bytes())
    block = description.block(0)
    variable = block.var(b"zzz")
    variable.set_persistable(True)
    variable.set_type(core.VarDesc.VarType.DENSE_TENSOR)
    variable.set_shape([3])
    variable.set_dtype(core.VarDesc.VarType.FP32)
    (tmp_path / "m.pdmodel").write_bytes(description.serialize_to_string())
    unread = paddle.ones([3])
    core.save_func(unread.get_tensor(), "zzz", str(tmp_path / "zzz"), True, False)
    (tmp_path / "m.pdiparams").write_bytes(Path(f"{legacy}.pdiparams").read_bytes() + (tmp_path / "zzz").read_bytes())
    np.testing.assert_array_equal(answers(ptq.load_program(tmp_path / "m"), X)[0], expected)


def test_one_file_for_each_parameter(tmp_path: Path) -> None:
    net = save(Mixed(), tmp_path / "m", [None, 3, None, None])
    tensors = {tensor.name: tensor for tensor in (*net.parameters(), *net.buffers())}
    one_file_each(tmp_path / "parts", tensors)
    layer = ptq.load_program(tmp_path / "m", params_path=tmp_path / "parts")
    np.testing.assert_allclose(answers(layer, X)[0], answers(net, X)[0], atol=1e-6)


def test_input_spec_and_several_inputs_and_outputs(tmp_path: Path) -> None:
    class Several(nn.Layer):
        def forward(self, x: paddle.Tensor, ids: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
            return x * 2, ids * 3, x + paddle.cast(ids, "float32")

    net = Several()
    spec = [InputSpec([None, 3], "float32", "pictures"), InputSpec([None, 3], "int64", "ids")]
    paddle.jit.save(net, str(tmp_path / "m"), input_spec=spec)
    layer = ptq.load_program(tmp_path / "m")
    found = [(item.name, tuple(item.shape), item.dtype) for item in layer.input_spec]
    assert found == [("pictures", (-1, 3), paddle.float32), ("ids", (-1, 3), paddle.int64)]
    x, ids = picture(2, 3), np.arange(6).reshape(2, 3)
    for got, want in zip(answers(layer, x, ids), answers(net, x, ids), strict=True):
        np.testing.assert_array_equal(got, want)
    with pytest.raises(TypeError, match=r"2 inputs \(pictures, ids\), got 1"):
        layer(paddle.to_tensor(x))


def test_copy_pickle_save_move(program: Path, expected: np.ndarray, tmp_path: Path) -> None:
    layer = ptq.load_program(program)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.to("cpu")):
        np.testing.assert_array_equal(answers(other, X)[0], expected)
    paddle.jit.save(layer, str(tmp_path / "again"), input_spec=layer.input_spec)
    np.testing.assert_array_equal(answers(paddle.jit.load(str(tmp_path / "again")), X)[0], expected)
    np.testing.assert_array_equal(answers(ptq.load_program(tmp_path / "again"), X)[0], expected)
    twin = ptq.load_program(program)
    for parameter in twin.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    twin.set_state_dict(layer.state_dict())
    np.testing.assert_array_equal(answers(twin, X)[0], expected)


def test_nothing_of_paddle_is_changed(program: Path, legacy: Path) -> None:
    paddle.set_default_dtype("float64")
    flags = paddle.get_flags(["FLAGS_enable_pir_api", "FLAGS_enable_pir_in_executor"])
    state = paddle.get_rng_state()
    try:
        for path in (program, legacy):
            layer = ptq.load_program(path)
            assert {parameter.dtype for parameter in layer.parameters()} == {paddle.float32}
        assert paddle.get_default_dtype() == "float64"
    finally:
        paddle.set_default_dtype("float32")
    assert paddle.get_flags(["FLAGS_enable_pir_api", "FLAGS_enable_pir_in_executor"]) == flags
    drawn = paddle.rand([4]).numpy()
    paddle.set_rng_state(state)
    np.testing.assert_array_equal(paddle.rand([4]).numpy(), drawn)
    assert paddle.in_dynamic_mode()
    paddle.enable_static()
    try:
        ptq.load_program(program)
        assert not paddle.in_dynamic_mode()
    finally:
        paddle.disable_static()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype: str, tmp_path: Path) -> None:
    class Half(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.weight = self.create_parameter([3, 4], dtype="float32")
            self.weight.set_value(picture(3, 4))

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return paddle.reshape(self.weight.astype("float32"), [3, 4]) * x

    net = Half()
    net.weight = net.create_parameter([3, 4], dtype=dtype)
    net.weight.set_value(paddle.to_tensor(picture(3, 4)).astype(dtype))
    save(net, tmp_path / "m", [3, 4])
    layer = ptq.load_program(tmp_path / "m")
    want = paddle.to_tensor(picture(3, 4)).astype(dtype).astype("float32").numpy() * picture(3, 4)
    np.testing.assert_array_equal(answers(layer, picture(3, 4))[0], want)


def test_sites_of_replayed_operations_are_on_grids(program: Path) -> None:
    """With placement `full`, replayed operations are seen as those of any model are."""
    engine = ImperativePTQ(PTQConfig(placement="full"))
    model = engine.quantize(ptq.load_program(program), fuse=True)
    model(paddle.to_tensor(X))
    converted = engine.convert(model)
    rows = [row for row in ptq.coverage(converted, input_spec=[InputSpec([2, 3, 8, 8])]).rows if row.op == "add"]
    assert [row.state for row in rows] == ["int8"]


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["compute", "full"])
def test_quantizes_saves_and_loads(placement: str, program: Path, tmp_path: Path) -> None:
    layer = ptq.load_program(program)
    engine = ImperativePTQ(PTQConfig(placement=placement))
    model = engine.quantize(layer, fuse=True)
    for seed in range(3):
        model(paddle.to_tensor(np.random.default_rng(seed).standard_normal((4, 3, 8, 8)).astype("float32")))
    model = engine.convert(model)
    got, want = answers(model, X)[0], answers(layer, X)[0]
    assert 10 * np.log10(np.square(want).mean() / np.square(got - want).mean()) > 25
    engine.save_quantized_model(model, str(tmp_path / "int8"), input_spec=layer.input_spec)
    np.testing.assert_allclose(answers(ptq.load(str(tmp_path / "int8")), X)[0], got, atol=1e-6)


def test_same_grids_as_from_the_class(tmp_path: Path) -> None:
    """At placement `compute`, where grids belong to layers: the scales are those of the net's own class, layer by layer."""
    net = save(LCNetWithoutAffine(), tmp_path / "m", [None, 3, 32, 32])
    scales = []
    for model in (net, ptq.load_program(tmp_path / "m")):
        engine = ImperativePTQ(PTQConfig())
        calibrated = engine.quantize(model)
        for seed in range(2):
            calibrated(paddle.to_tensor(np.random.default_rng(seed).standard_normal((2, 3, 32, 32)).astype("float32")))
        converted = engine.convert(calibrated)
        scales.append(sorted(float(b.max()) for name, b in converted.named_buffers() if name.endswith("scale")))
    assert len(scales[0]) == len(scales[1]) > 10
    np.testing.assert_allclose(scales[1], scales[0], rtol=1e-6)


class LCNetWithoutAffine(nn.Layer):
    """The part of it that its class and its program hold alike."""

    def __init__(self) -> None:
        super().__init__()
        source = LCNet()
        self.stem, self.neck, self.up = source.stem, source.neck, source.up
        self.blocks = nn.LayerList([nn.Sequential(block.depthwise, nn.Hardswish(), block.pointwise) for block in source.blocks])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return nn.functional.sigmoid(self.up(self.neck(x)))


def test_static_programs(tmp_path: Path) -> None:
    """Saved by `paddle.static`, as most of Paddle's own tools do."""
    paddle.enable_static()
    try:
        main, startup = paddle.static.Program(), paddle.static.Program()
        with paddle.static.program_guard(main, startup):
            x = paddle.static.data("x", [None, 3, 8, 8])
            y = nn.functional.relu(nn.Conv2D(3, 4, 3)(x))
            executor = paddle.static.Executor()
            executor.run(startup)
            want = executor.run(main, feed={"x": X}, fetch_list=[y])[0]
            paddle.static.save_inference_model(str(tmp_path / "m"), [x], [y], executor, program=main)
    finally:
        paddle.disable_static()
    layer = ptq.load_program(tmp_path / "m")
    np.testing.assert_allclose(answers(layer, X)[0], want, atol=1e-6)
    assert [type(inner) for inner in layer.sublayers() if not isinstance(inner, nn.LayerDict)] == [nn.Conv2D, nn.ReLU]


def test_language_model_with_free_sizes(tmp_path: Path) -> None:
    net = save(Tied(), tmp_path / "m", [None, None], dtype="int64")
    layer = ptq.load_program(tmp_path / "m")
    for shape in ((1, 3), (4, 11)):
        ids = np.random.default_rng(0).integers(0, 20, shape)
        np.testing.assert_allclose(answers(layer, ids)[0], answers(net, ids)[0], atol=1e-6)
