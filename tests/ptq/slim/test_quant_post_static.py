"""Scripts written for PaddleSlim's `quant_post_static`, run as its documentation runs them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from fresh import answers_of
from slim_programs import batch_reader, images, sample_reader

import ptq
from ptq import ImperativePTQ, PTQConfig, QuantOverride
from ptq.slim import quant_post_static
from quantizers import AbsmaxQuantizer, HistQuantizer, MSEQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, ProgramError, QuantizationWarning

# What saving may say on a processor without int8 dot products: kernels saturate, which the check of OpenVINO finds and names.
KNOWN = "(?s).*(saturate|do not use this file with OpenVINO)"
FILES = {"json": "model.json", "pdmodel": "model.pdmodel", "lenet": "model.pdmodel"}


def by_hand(program: Path, config: PTQConfig, fuse: bool = False, batch: int = 1) -> np.ndarray[Any, Any]:
    """The answers to the calibration images of the same quantization without `ptq.slim`; other batches may round the last bit otherwise."""
    engine = ImperativePTQ(config)
    model = engine.quantize(ptq.load_program(program), fuse=fuse)
    with paddle.no_grad():
        for start in range(0, len(images()), batch):
            model(paddle.to_tensor(images()[start : start + batch]))
        return engine.convert(model)(paddle.to_tensor(images())).numpy()


def answers(program: Path, **arguments: Any) -> np.ndarray[Any, Any]:
    """The answers to the calibration images of what `quant_post_static` would save; saving itself is the documented scripts' test."""
    models = []

    def keep(_engine: Any, model: Any, *_: Any) -> tuple[tuple[str, ...], dict[str, str]]:
        models.append(model)
        return (), {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptq.slim.post_static._save", keep)
        quant_post_static(None, str(program), "nowhere", **{"sample_generator": sample_reader, **arguments})
    paddle.disable_static()
    return models[0](paddle.to_tensor(images())).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("kind", FILES)
def test_as_documented(kind: str, static: bool, saved: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warnings.filterwarnings("ignore", KNOWN, QuantizationWarning)  # pytest puts the filters back
    if static:
        paddle.enable_static()
    try:
        quant_post_static(
            executor=paddle.static.Executor(paddle.CPUPlace()),
            model_dir=str(saved[kind]),
            quantize_model_path=str(tmp_path / "quant"),
            sample_generator=sample_reader,
            model_filename=FILES[kind],
            params_filename="model.pdiparams",
            batch_size=4,
            batch_nums=10,
            algo="hist",
        )
        assert paddle.in_dynamic_mode() is not static
    finally:
        paddle.disable_static()
    printed = capsys.readouterr().out
    assert "runs: " in printed
    assert (tmp_path / "quant" / "model.infer.pdmodel").is_file(), printed
    answer = answers_of(tmp_path / "quant" / "model", paddle.to_tensor(images()), tmp_path).numpy()
    expected = by_hand(saved[kind], PTQConfig(HistQuantizer(hist_percent=0.9999), PerChannelAbsmaxQuantizer()), batch=4)
    # the same integers; a softmax and sums of matrix products depend on the kernel that a processor takes for a batch
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    plain = ptq.load_program(saved[kind])(paddle.to_tensor(images())).numpy()
    assert 10 * np.log10((plain**2).sum() / ((answer - plain) ** 2).sum()) > 20


class Pictures(paddle.io.Dataset):  # type: ignore[misc]
    def __getitem__(self, index: int) -> np.ndarray[Any, Any]:
        return images()[index]

    def __len__(self) -> int:
        return 12


def dynamic_loader() -> Any:
    return paddle.io.DataLoader(Pictures(), batch_size=4, return_list=True)


def static_loader() -> Any:
    """A loader that yields dicts by the names of inputs."""
    image = paddle.static.data("image", [None, 1, 28, 28], "float32")
    return paddle.io.DataLoader(Pictures(), feed_list=[image], places=[paddle.CPUPlace()], batch_size=4, return_list=False)


def dicts() -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    for (batch,) in batch_reader():
        yield {"image": batch, "unused": np.zeros(3)}


@pytest.mark.parametrize(
    ("static", "source", "make"),
    [
        (False, "data_loader", dynamic_loader),
        (True, "data_loader", static_loader),
        (False, "data_loader", lambda: dicts),
        (True, "batch_generator", lambda: batch_reader),
        (False, "batch_generator", lambda: list(batch_reader())),
        (False, "sample_generator", lambda: list(images())),
    ],
    ids=["DataLoader", "DataLoader in static mode", "dicts", "batches in static mode", "a list of batches", "bare samples"],
)
def test_every_source(static: bool, source: str, make: Callable[[], Any], saved: dict[str, Path]) -> None:
    if static:
        paddle.enable_static()
    try:
        found = answers(saved["json"], **{"sample_generator": None, source: make()}, algo="abs_max")
    finally:
        paddle.disable_static()
    batch = 1 if source == "sample_generator" else 4
    np.testing.assert_array_equal(found, by_hand(saved["json"], PTQConfig(AbsmaxQuantizer()), batch=batch))


def test_batch_nums_and_size_bound_the_samples(saved: dict[str, Path]) -> None:
    taken = []

    def counted() -> Iterator[tuple[np.ndarray[Any, Any]]]:
        for sample in sample_reader():
            taken.append(sample)
            yield sample

    answers(saved["json"], sample_generator=counted, batch_size=3, batch_nums=2)
    assert len(taken) == 6


def test_settings_reach_the_engine(saved: dict[str, Path]) -> None:
    arguments: dict[str, Any] = {
        "algo": "mse",
        "weight_quantize_type": "abs_max",
        "weight_bits": 6,
        "activation_bits": 7,
        "is_full_quantize": True,
    }
    config = PTQConfig(MSEQuantizer(7), AbsmaxQuantizer(6), placement="full")
    found = answers(saved["pdmodel"], **arguments, optimize_model=True)
    np.testing.assert_array_equal(found, by_hand(saved["pdmodel"], config, fuse=True))


def paths(kind: str, saved: dict[str, Path]) -> dict[str, str]:
    """Paths of the layers in a program by their names in the class."""
    shapes = {"stem": [8, 1, 3, 3], "depthwise": [8, 1, 3, 3], "pointwise": [8, 8, 1, 1], "hidden": [8, 16], "head": [16, 4]}
    found: dict[str, str] = {}
    for path, layer in ptq.load_program(saved[kind]).named_sublayers():
        weight = getattr(layer, "weight", None)
        for name, shape in shapes.items():
            if weight is not None and weight.shape == shape and name not in found:
                found[name] = path
                break
    return found


@pytest.mark.parametrize("kind", ["json", "pdmodel"])
@pytest.mark.parametrize(
    ("operators", "floats"),
    [
        (["conv2d"], ["depthwise", "hidden", "head"]),
        (["depthwise_conv2d", "mul"], ["stem", "pointwise"]),
        (("conv2d", "depthwise_conv2d"), ["hidden", "head"]),
    ],
)
def test_operators_that_are_not_listed_stay_float(kind: str, operators: Any, floats: list[str], saved: dict[str, Path]) -> None:
    found = answers(saved[kind], algo="abs_max", quantizable_op_type=operators)
    names = paths(kind, saved)
    overrides: dict[Any, QuantOverride | None] = {names[name]: None for name in floats}
    np.testing.assert_array_equal(found, by_hand(saved[kind], PTQConfig(AbsmaxQuantizer(), overrides=overrides)))


@pytest.mark.parametrize(("kind", "tensor"), [("json", "weight"), ("pdmodel", "weight"), ("pdmodel", "input"), ("json", "path")])
def test_readers_of_skipped_tensors_stay_float(kind: str, tensor: str, saved: dict[str, Path]) -> None:
    program, names = ptq.load_program(saved[kind]), paths(kind, saved)
    layer = "stem" if tensor == "input" else "pointwise"
    name = {"input": "image", "path": names[layer], "weight": program.parameter_names[names[layer]][0]}[tensor]
    found = answers(saved[kind], algo="abs_max", skip_tensor_list=[name])
    config = PTQConfig(AbsmaxQuantizer(), overrides={names[layer]: None})
    np.testing.assert_array_equal(found, by_hand(saved[kind], config))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"algo": "ptf"}, "algo.*'ptf'"),
    ({"algo": "kl"}, "algo"),
    ({"round_type": "adaround"}, "round_type.*'adaround'"),
    ({"bias_correction": True}, "bias_correction"),
    ({"activation_quantize_type": "abs_max"}, "activation_quantize_type"),
    ({"weight_quantize_type": "range_abs_max"}, "weight_quantize_type"),
    ({"weight_bits": 1}, "weight_bits"),
    ({"activation_bits": "8"}, "activation_bits"),
    ({"hist_percent": 2.0}, "hist_percent"),
    ({"deploy_backend": "TensorRT"}, "deploy_backend.*'TensorRT'"),
    ({"onnx_format": "yes"}, "onnx_format"),
    ({"is_full_quantize": 1}, "is_full_quantize"),
    ({"optimize_model": None}, "optimize_model"),
    ({"save_params_filename": None}, "save_params_filename"),
    ({"save_model_filename": "a/b"}, "save_model_filename"),
    ({"quantize_model_path": 3}, "quantize_model_path"),
    ({"model_dir": 3}, "model_dir"),
    ({"executor": "cpu"}, "executor"),
    ({"scope": {}}, "scope"),
    ({"quantizable_op_type": ["softmax"]}, "quantizable_op_type.*'softmax'"),
    ({"quantizable_op_type": "conv2d"}, "quantizable_op_type"),
    ({"skip_tensor_list": ["nothing"]}, "skip_tensor_list.*'nothing'"),
    ({"skip_tensor_list": "conv"}, "skip_tensor_list"),
    ({"sample_generator": None}, "given: none"),
    ({"batch_generator": batch_reader}, "batch_generator, sample_generator"),
    ({"sample_generator": 3}, "sample_generator"),
    ({"batch_size": 0}, "batch_size"),
    ({"batch_nums": 2.5}, "batch_nums"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_not_offered_is_refused_by_name(arguments: dict[str, Any], message: str, saved: dict[str, Path], tmp_path: Path) -> None:
    usual: dict[str, Any] = {"executor": None, "model_dir": str(saved["json"]), "quantize_model_path": str(tmp_path / "quant")}
    with pytest.raises(ConfigError, match=f"quant_post_static.*{message}"):
        quant_post_static(**{**usual, "sample_generator": sample_reader, **arguments})
    assert not list(tmp_path.iterdir())


def one(*arrays: Any) -> Callable[[], Iterator[Any]]:
    return lambda: iter([arrays])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sample_generator": lambda: iter(())}, NoCalibrationDataError, "no batch"),
        ({"sample_generator": one(images()[0], 3)}, CalibrationError, "sample 0 has 2 arrays.*image.*labels"),
        ({"sample_generator": one(images()[0, :, :5])}, CalibrationError, r"sample 0.*\[1, 1, 5, 28\].*image"),
        ({"sample_generator": None, "batch_generator": one(np.array(["a"]))}, CalibrationError, "batch 0.*image"),
        ({"sample_generator": None, "data_loader": lambda: iter([{"x": images()}])}, CalibrationError, r"\['x'\].*\['image'\]"),
        ({"model_dir": "nowhere"}, ProgramError, "nowhere"),
        ({"model_filename": "other.pdmodel"}, ProgramError, "other.pdmodel"),
    ],
)
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_wrong_data_is_named_and_the_mode_is_put_back(
    static: bool, arguments: dict[str, Any], error: type[Exception], message: str, saved: dict[str, Path], tmp_path: Path
) -> None:
    usual: dict[str, Any] = {"executor": None, "model_dir": str(saved["json"]), "quantize_model_path": str(tmp_path / "quant")}
    if static:
        paddle.enable_static()
    try:
        with pytest.raises(error, match=message):
            quant_post_static(**{**usual, "sample_generator": sample_reader, **arguments})
        assert paddle.in_dynamic_mode() is not static
    finally:
        paddle.disable_static()
    assert not list(tmp_path.iterdir())
