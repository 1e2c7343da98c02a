"""Saving and exporting with arguments that do not fit, without an extra, or what cannot be exported."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import paddle
from hostile_case import Act, Case, Scene, net
from models import Net
from paddle import nn
from paddle.static import InputSpec

import ptq
from ptq import ImperativePTQ
from ptq.export import create_int8_predictor, export_inference, export_onnx
from ptq.util.extras import MissingExtraError
from quantizers.errors import ArtifactError, ConfigError, ExportError, MismatchError, ModelError

__all__ = ["CASES"]

SPEC = [InputSpec([None, 4], "float32")]
Export = Callable[[nn.Layer], Any]


def case(name: str, expected: type[BaseException], says: str, prepare: Callable[[Scene], Act]) -> Case:
    return Case("export", name, expected, says, prepare)


def converted(export: Export, model: Callable[[], nn.Layer] = net) -> Callable[[Scene], Act]:
    """An export of a converted model."""

    def prepare(scene: Scene) -> Act:
        ready = scene.converted(model())
        return lambda: export(ready)

    return prepare


def saving(**options: Any) -> Callable[[Scene], Act]:
    scene_free: Export = lambda m: ImperativePTQ().save_quantized_model(m, "model", **options)  # noqa: E731
    return converted(scene_free)


def calibrating(export: Export) -> Callable[[Scene], Act]:
    """An export of a model that is not converted yet."""

    def prepare(scene: Scene) -> Act:
        model = scene.seen()
        return lambda: export(model)

    return prepare


def of_float(export: Export) -> Callable[[Scene], Act]:
    def prepare(scene: Scene) -> Act:
        model = scene.watch(net())
        return lambda: export(model)

    return prepare


def without(module: str, export: Export) -> Callable[[Scene], Act]:
    """The same where an extra is not installed."""

    def prepare(scene: Scene) -> Act:
        model = scene.converted()
        for name in [name for name in sys.modules if name.split(".")[0] == module]:
            scene.patch.delitem(sys.modules, name)
        scene.patch.setitem(sys.modules, module, None)
        return lambda: export(model)

    return prepare


class Counting(nn.Layer):
    """Answers with another number at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.calls = nn.Linear(4, 2), 0
        self.eval()

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return self.fc(x) + self.calls


def angular() -> nn.Layer:
    """Uses an operation that no int8 runtime has."""
    model = Net(lambda m, x: paddle.linalg.svd(m.fc(x))[1], fc=nn.Linear(4, 4))
    model.eval()
    return model


def opening(name: str = "a", **options: Any) -> Callable[[Scene], Act]:
    """A predictor of a saved model."""
    return lambda scene: functools.partial(create_int8_predictor, scene.copy(name, name), **options)


CASES = [
    *(
        case(f"formats={formats!r}", ConfigError, "formats must.*jit, onnx, inference", saving(formats=formats))
        for formats in ("onnx", ("tflite",), (), ("jit", "jit"), None, (8,))
    ),
    case("saving nothing", ModelError, "None", lambda _: lambda: ImperativePTQ().save_quantized_model(None, "model")),
    case("saving a float model", ModelError, "no quantized layer", of_float(lambda m: ImperativePTQ().save_quantized_model(m, "model"))),
    case("ONNX of nothing", ModelError, "None", lambda _: lambda: export_onnx(None, "model", SPEC)),  # type: ignore[arg-type]
    case(
        "ONNX of a model under calibration",
        ModelError,
        "Sequential is still being calibrated",
        calibrating(lambda m: export_onnx(m, "model")),
    ),
    case(
        "inference files of a model under calibration",
        ModelError,
        "still being calibrated",
        calibrating(lambda m: export_inference(m, "model")),
    ),
    case("ONNX without a known input", ConfigError, "input_spec is needed", of_float(lambda m: export_onnx(m, "model"))),
    case("input_spec=5 for ONNX", ConfigError, "input_spec.* 5", converted(lambda m: export_onnx(m, "model", 5))),  # type: ignore[arg-type]
    case("input_spec=5", ConfigError, "input_spec.* 5", saving(input_spec=5)),
    case(
        "input_spec of another size",
        ExportError,
        r"Sequential fails on inputs of shapes \[\[2, 5\]\]",
        saving(input_spec=[InputSpec([None, 5])]),
    ),
    case("too many inputs", ExportError, "Sequential fails on inputs", saving(input_spec=SPEC * 3)),
    case("input_spec of numbers", ExportError, "Sequential cannot be saved.*input_spec", saving(input_spec=[5])),
    case("an output that is not there", ConfigError, "output_spec: 9", saving(output_spec=[9])),
    case("an option that Paddle lacks", ExportError, "colour", saving(colour=1)),
    case(
        "a model that depends on its calls",
        MismatchError,
        "it was not kept",
        converted(lambda m: ImperativePTQ().save_quantized_model(m, "model"), Counting),
    ),
    case("an operation that ONNX lacks", ExportError, "svd", converted(lambda m: export_onnx(m, "model"), angular)),
    case(
        "paddle2onnx not installed",
        MissingExtraError,
        r"paddle2onnx.*paddle-ptq\[onnx\]",
        without("paddle2onnx", lambda m: export_onnx(m, "model")),
    ),
    case("onnx not installed", MissingExtraError, r"paddle-ptq\[onnx\]", without("onnx", lambda m: export_onnx(m, "model"))),
    case(
        "onnx not installed, in a save",
        MissingExtraError,
        r"paddle-ptq\[onnx\]",
        without("onnx", lambda m: ImperativePTQ().save_quantized_model(m, "model", formats=("jit", "onnx"))),
    ),
    case("a predictor by oneDNN", ConfigError, "onednn.*wrong", opening(engine="onednn")),
    case("a predictor by an unknown engine", ConfigError, "'tensorrt'", opening(engine="tensorrt")),
    case("a predictor with no thread", ConfigError, "threads.* 0", opening(threads=0)),
    case("a predictor with threads=True", ConfigError, "threads.* True", opening(threads=True)),
    case("a predictor of a float model", ArtifactError, "float_a is a float model", opening("float_a")),
    case("coverage of nothing", ModelError, "None", lambda _: lambda: ptq.coverage(None)),  # type: ignore[arg-type]
    case("check of nothing", ModelError, "None", lambda _: lambda: ptq.check(None)),  # type: ignore[arg-type]
    case("check with a number", ConfigError, " 5$", of_float(lambda m: ptq.check(m, 5))),
]
