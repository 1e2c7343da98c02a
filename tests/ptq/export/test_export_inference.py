"""The Paddle Inference files answer as the model they were made from, in int8, and stand beside the portable ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
import pytest
from cpus import INT8_DECONVOLUTION, WEIGHT_BITS
from inference_cases import HandQuantized, Wrapped, answers, exported, native, saved
from models import absmax, converted, data
from paddle import nn
from paddle.static import InputSpec

import ptq.export.inference.by_layer as inference
from ptq import PTQConfig
from ptq.export.inference.artifact import INFERENCE_FILES, check_inference, write_inference
from ptq.export.inference.export import export_inference
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import ArtifactError, ExportError, MismatchError

IMAGE = (2, 3, 12, 12)


class Mixed(nn.Layer):
    """Convolutions of every kind, a residual addition, a concat, pools, activations, a resize, an embedding of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2D(3, 16, 3, padding=1, bias_attr=False), nn.BatchNorm2D(16)
        self.wide, self.deep = nn.Conv2D(16, 16, 3, padding=1), nn.Conv2D(16, 16, 3, padding=1, groups=16)
        self.up, self.point = nn.Conv2DTranspose(16, 8, 2, stride=2), nn.Conv2D(24, 16, 1)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(self.wide(x) + x)
        y = F.hardswish(self.deep(F.max_pool2d(x, 2)))
        z = F.interpolate(self.up(y), scale_factor=0.5, mode="nearest")
        x = F.relu6(self.point(paddle.concat([y, z], 1)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def full() -> PTQConfig:
    return PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(WEIGHT_BITS), placement="full")


@pytest.mark.parametrize("zero_point", [0, 77, 128, 200])
def test_every_zero_point_is_exact(tmp_path: Path, zero_point: int) -> None:
    x = data(4, 3, 8, 8).abs() if zero_point == 0 else data(4, 3, 8, 8)
    (expected,) = exported(HandQuantized(zero_point), tmp_path / "m", x)
    (answer,) = answers(tmp_path / "m", [x])
    assert np.ptp(expected) > 20 * 0.07, "the test's output spans too few steps to tell anything"
    np.testing.assert_allclose(answer, expected, atol=1e-4)
    (report,) = check_inference(str(tmp_path / "m"), [x.numpy()], [expected])
    assert report.int8_share == 1.0


def test_engines_that_ignore_zero_points_answer_nan(tmp_path: Path) -> None:
    exported(HandQuantized(77), tmp_path / "m", data(1, 3, 8, 8))
    assert np.isnan(native(tmp_path / "m", data(1, 3, 8, 8))).all()


@pytest.mark.parametrize("placement", ["full", "compute"])
def test_a_converted_model_runs_in_int8(tmp_path: Path, placement: str) -> None:
    config = PTQConfig(AbsmaxQuantizer(), PerChannelAbsmaxQuantizer(WEIGHT_BITS), placement=placement)
    model = converted(Mixed(), data(*IMAGE), data(*IMAGE, seed=1), config=config, fuse=True)
    report = export_inference(model, tmp_path / "m", [InputSpec([None, 3, 12, 12], "float32")])
    (runtime,) = report.runtimes
    floats = {kernel.name for kernel in runtime.kernels if not kernel.is_int8}
    assert floats == (set() if INT8_DECONVOLUTION else {"up"}), runtime.lines()
    assert len(runtime.kernels) == 6
    assert runtime.sqnr_db > 45
    assert {kernel.name for kernel in runtime.kernels} == {"stem", "wide", "deep", "up", "point", "fc"}


def test_additions_round_where_the_model_does(tmp_path: Path) -> None:
    """The engine merges the grid before an addition into the convolution; without care it is no longer rounded to."""

    class Residual(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2D(8, 8, 3, padding=1), nn.Conv2D(8, 8, 3, padding=1)

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return F.relu(self.two(F.relu(self.one(x))) + x)

    x = data(4, 8, 16, 16)
    expected = exported(converted(Residual(), x, config=full()), tmp_path / "m", x)
    (answer,) = answers(tmp_path / "m", [x])
    assert np.mean(np.abs(answer - expected[0]) > 1e-4) < 1e-3


class Shared(nn.Layer):
    """A float result that a grid and something else read, behind layers whose bias is absent or, as in fresh layers, zero."""

    def __init__(self, bias: bool, joined: bool) -> None:
        super().__init__()
        self.joined, attr = joined, None if bias else False
        self.one, self.last = nn.Conv2D(8, 8, 1, bias_attr=attr), nn.Conv2D(24 if joined else 8, 4, 1)
        if joined:
            self.two, self.pooled = nn.Conv2D(8, 16, 3, padding=1, bias_attr=attr), nn.Conv2D(24, 4, 1)

    def forward(self, x: paddle.Tensor) -> Any:
        if not self.joined:
            y = self.one(x)
            return self.last(y), y
        y = F.relu(paddle.concat([self.one(x), self.two(x)], 1))
        return self.last(y) + self.pooled(F.max_pool2d(y, 3, 1, 1))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_a_grid_beside_another_reader_is_not_zero(tmp_path: Path, bias: bool, joined: bool) -> None:
    """The engine moves weight scales behind such a result and then computes its grid as zeros."""
    x = data(4, 8, 16, 16)
    expected = exported(converted(Shared(bias, joined), x, config=absmax(weight_bits=WEIGHT_BITS)), tmp_path / "m", x)
    (report,) = check_inference(str(tmp_path / "m"), [x.numpy()], expected)
    assert report.int8_share == 1.0
    assert report.sqnr_db > 60


def test_the_batch_is_free(tmp_path: Path) -> None:
    model = HandQuantized(128)
    exported(model, tmp_path / "m", data(1, 3, 8, 8))
    x = data(7, 3, 8, 8)
    np.testing.assert_allclose(answers(tmp_path / "m", [x])[0], model(x).numpy(), atol=1e-4)


def test_the_program_tells_nothing_of_the_machine_that_wrote_it(tmp_path: Path) -> None:
    exported(HandQuantized(77), tmp_path / "m", data(1, 3, 8, 8))
    for suffix in INFERENCE_FILES:
        content = Path(f"{tmp_path / 'm'}{suffix}").read_bytes()
        for trace in (b"op_callstack", b".py", str(Path(paddle.__file__).parent).encode(), str(tmp_path).encode()):
            assert trace not in content, suffix


def test_paddle_loads_the_portable_files_beside_them(tmp_path: Path) -> None:
    (expected,) = exported(HandQuantized(77), tmp_path / "m", data(2, 3, 8, 8))
    loaded = paddle.jit.load(str(tmp_path / "m"))
    np.testing.assert_array_equal(loaded(data(2, 3, 8, 8)).numpy(), expected)


FLOAT = {
    "activations": lambda x: [
        *(f(x) for f in (F.gelu, F.tanh, F.sigmoid, F.hardswish, F.hardsigmoid, F.swish, F.silu, F.relu6, F.elu, F.leaky_relu)),
        F.gelu(x, approximate=True),
        F.softplus(x),
        F.softmax(x, axis=1),
    ],
    "elementwise": lambda x: [
        *(f(x.abs() + 1) for f in (paddle.exp, paddle.sqrt, paddle.rsqrt, paddle.log, paddle.floor)),
        *(f(x, 2 * x + 0.5) for f in (paddle.add, paddle.subtract, paddle.multiply, paddle.divide, paddle.maximum, paddle.minimum)),
        *(paddle.clip(x, -0.5, 0.25), x**2, x.astype("int32"), paddle.where(x > 0, x, -x)),
    ],
    "reductions": lambda x: [
        *(x.mean([2, 3]), x.max(1), x.sum(-1, keepdim=True), x.min(2), x.mean(), x.argmax(1), x.cumsum(1)),
        *(F.layer_norm(x, x.shape[1:]), x.prod(3)),
    ],
    "shapes": lambda x: [
        *(x.reshape([0, -1]), x.transpose([0, 2, 3, 1]), x.flatten(2), x.unsqueeze(1), x[:, 1], x[:, :, ::2, 1:5], paddle.shape(x)),
        *(*paddle.split(x, [1, 3], 1), *x.chunk(2, 1), paddle.concat([x, x], 1), paddle.stack([x, x], 1), paddle.tile(x, [1, 2, 1, 1])),
        *(F.pad(x, [1, 2, 3, 4]), F.pad(x, [0, 0, 1, 2, 0, 0, 3, 1], value=0.5), x.expand([x.shape[0], 4, 8, 8]), x),
    ],
    "computed shapes": lambda x: [
        *(x.reshape([paddle.shape(x)[0], -1]), x.flatten(2).reshape([-1, 4, 2, 32])),
        *(paddle.zeros_like(x), paddle.full_like(x, 3.0), paddle.arange(x.shape[1]).astype("float32") * x[0, 0, 0, 0]),
    ],
    "images": lambda x: [
        *(F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 2), F.max_pool2d(x, 2, ceil_mode=True)),
        *(F.interpolate(x, scale_factor=2, mode=mode) for mode in ("nearest", "bilinear")),
        *(F.interpolate(x, size=[5, 7], mode="bilinear"), F.dropout(x, 0.5, training=False, mode="downscale_in_infer"), x),
    ],
}


@pytest.mark.parametrize("group", FLOAT)
def test_operations_mean_the_same(tmp_path: Path, group: str) -> None:
    x = data(2, 4, 8, 8)
    expected = exported(Wrapped(FLOAT[group]), tmp_path / "m", x)
    found = answers(tmp_path / "m", [x])
    assert len(found) == len(expected)
    for number, (answer, wanted) in enumerate(zip(found, expected, strict=True)):
        assert answer.shape == wanted.shape, number
        np.testing.assert_allclose(answer, wanted, rtol=1e-4, atol=1e-5, err_msg=str(number))


def test_attention_runs_in_int8(tmp_path: Path) -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", dropout=0.0)
    x = data(2, 6, 32)
    model = converted(nn.TransformerEncoder(layer, 2), x, config=full())
    (runtime,) = export_inference(model, tmp_path / "m", [InputSpec([None, 6, 32], "float32")]).runtimes
    assert all(kernel.is_int8 for kernel in runtime.kernels if "linear" in kernel.name or "proj" in kernel.name), runtime.lines()
    assert runtime.sqnr_db > 30


def test_a_causal_mask_is_stored_once(tmp_path: Path) -> None:
    x = data(2, 5, 3, 8)
    (expected,) = exported(Wrapped(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)), tmp_path / "m", x)
    np.testing.assert_allclose(answers(tmp_path / "m", [x])[0], expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_operation_is_named(tmp_path: Path) -> None:
    saved(Wrapped(lambda x: paddle.erf(x)), tmp_path / "m", data(1, 4))
    with pytest.raises(ExportError, match=r"'erf'.*format 'onnx'"):
        write_inference(str(tmp_path / "m"), str(tmp_path / "m"))
    assert not (tmp_path / "m.infer.pdmodel").exists()


def test_a_shape_that_stays_unknown_is_named(tmp_path: Path) -> None:
    saved(Wrapped(lambda x: x.reshape([paddle.shape(x)[0] * 2, 2, -1])), tmp_path / "m", data(2, 8))
    with pytest.raises(ExportError, match=r"'reshape'.*computed argument.*format 'onnx'"):
        write_inference(str(tmp_path / "m"), str(tmp_path / "m"))


def test_control_flow_is_named(tmp_path: Path) -> None:
    branch = Wrapped(lambda x: paddle.static.nn.cond(x.sum() > 0, lambda: x + 1, lambda: x - 1))
    saved(branch, tmp_path / "m", data(1, 4))
    with pytest.raises(ExportError, match=r"pd_op\.if.*format 'onnx'"):
        write_inference(str(tmp_path / "m"), str(tmp_path / "m"))


def test_a_program_without_parameters_is_refused(tmp_path: Path) -> None:
    class Bare(nn.Layer):
        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return F.relu(x)

    saved(Bare(), tmp_path / "m", data(1, 4))
    with pytest.raises(ExportError, match="no parameters"):
        write_inference(str(tmp_path / "m"), str(tmp_path / "m"))


def test_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        write_inference(str(tmp_path / "none"), str(tmp_path / "m"))


def test_a_layer_that_differs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose roundings are amplified is accepted layer by layer, one that is computed wrongly is not."""
    x = data(2, 3, 8, 8)
    model = HandQuantized(77)
    names = {tensor.name: path for path, tensor in model.state_dict().items()}
    (expected,) = exported(model, tmp_path / "m", x)
    amplified = [expected + 0.2 * data(*expected.shape).numpy()]
    (report,) = check_inference(str(tmp_path / "m"), [x.numpy()], amplified)
    assert "each of 3 grids is within one step" in report.notes[-1]

    def wrong(files: tuple[str, str], inputs: list[np.ndarray]) -> list[np.ndarray]:
        found = genuine(files, inputs)
        return [found[0], found[1] + 2 * 0.05, *found[2:]]

    genuine = inference.run_once
    monkeypatch.setattr(inference, "run_once", wrong)
    with pytest.raises(MismatchError, match=r"'add' after the layer with weight 'kernel' 2\.0 steps"):
        check_inference(str(tmp_path / "m"), [x.numpy()], amplified, names)


def test_the_report_says_what_was_compared_on_how_many_samples_and_how_closely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = data(2, 3, 8, 8)
    (expected,) = exported(HandQuantized(77, largest=63), tmp_path / "m", x)
    amplified = [expected + 0.2 * data(*expected.shape).numpy()]
    read = inference.json.loads

    def wider(text: str) -> Any:
        """The facts of a program whose second grid may be seven steps off, as one behind a grid that the engine merges."""
        facts = read(text)
        if isinstance(facts, dict) and "grids" in facts:
            facts["grids"][1]["tolerance"] = 7 * facts["grids"][1]["scale"]
        return facts

    def off(files: tuple[str, str], inputs: list[np.ndarray]) -> list[np.ndarray]:
        found = genuine(files, inputs)
        return [found[0], found[1] + 6 * 0.05, *found[2:]]

    genuine = inference.run_once
    monkeypatch.setattr(inference, "run_once", off)
    monkeypatch.setattr(inference.json, "loads", wider)
    (report,) = check_inference(str(tmp_path / "m"), [x.numpy()], amplified)
    note = report.notes[-1]
    assert "within one step" not in note
    for said in ("3 grids", "2 samples", "7 steps"):
        assert said in note


def test_another_model_is_no_match(tmp_path: Path) -> None:
    x = data(2, 3, 8, 8)
    (expected,) = exported(HandQuantized(77), tmp_path / "m", x)
    with pytest.raises(MismatchError, match="dB"):
        check_inference(str(tmp_path / "m"), [x.numpy()], [-expected])
    with pytest.raises(MismatchError, match="answers with"):
        check_inference(str(tmp_path / "m"), [x.numpy()], [expected[:, :5]])


def test_wide_grids_stay_float(tmp_path: Path) -> None:
    x = data(2, 3, 12, 12)
    model = converted(nn.Sequential(nn.Conv2D(3, 8, 3), nn.ReLU(), nn.Conv2D(8, 4, 3)), x, config=absmax(12))
    (runtime,) = export_inference(model, tmp_path / "m", [InputSpec([None, 3, 12, 12], "float32")]).runtimes
    assert runtime.int8_share == 0
    assert runtime.sqnr_db > 60
    assert all("float" in kernel.reason or "grid" in kernel.reason for kernel in runtime.kernels)
