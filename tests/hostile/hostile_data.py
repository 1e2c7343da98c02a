"""Calibration data that is missing, broken, or of the wrong kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import paddle
from hostile_case import Act, Case, Scene, net
from models import Net, data
from paddle import nn

import ptq
from quantizers.errors import (
    CalibrationError,
    ConfigError,
    ModelError,
    NoCalibrationDataError,
    NonFiniteError,
    UnsupportedDtypeError,
)

__all__ = ["CASES"]


def calibrating(loader: Any, model: Callable[[], nn.Layer] = net, **options: Any) -> Callable[[Scene], Act]:
    """`ptq.calibrate` of a model with a loader."""

    def prepare(scene: Scene) -> Act:
        prepared = scene.watch(scene.prepared(model()))
        return lambda: ptq.calibrate(
            prepared, loader() if callable(loader) and not isinstance(loader, type) else loader, progress=False, **options
        )

    return prepare


def broken_loader() -> Iterator[paddle.Tensor]:
    yield data(2, 4)
    raise OSError(5, "the disk of the data set is gone")


def dividing() -> nn.Layer:
    """NaN appears between its two layers."""
    model = Net(lambda m, x: m.after(paddle.log(m.fc(x) * 0 - 1)), fc=nn.Linear(4, 4), after=nn.Linear(4, 4))
    model.eval()
    return model


def failing() -> nn.Layer:
    def fail(*_: Any) -> Any:
        raise KeyError("state")

    model = Net(lambda m, x: m.inner(m.fc(x)) if paddle.in_dynamic_mode() else m.fc(x), fc=nn.Linear(4, 4), inner=Net(fail))
    model.eval()
    return model


class Samples(paddle.io.Dataset):
    """Without a batch dimension."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, _index: int) -> np.ndarray:
        return np.ones(4, np.float32)


def resuming(scene: Scene, second: Any, model: nn.Layer | None = None) -> Act:
    """Goes on after an interruption, with something else."""
    first = ptq.calibrate
    path = scene.folder / "state.ptqc"
    float_model = net()
    prepared = scene.prepared(float_model)

    def interrupted() -> Iterator[paddle.Tensor]:
        yield data(2, 4)
        raise KeyboardInterrupt

    try:
        first(prepared, interrupted(), progress=False, resume=path)
    except KeyboardInterrupt:
        again = scene.prepared(float_model if model is None else model)
    return lambda: ptq.calibrate(again, second, progress=False, resume=path)


def case(name: str, expected: type[BaseException], says: str, prepare: Callable[[Scene], Act]) -> Case:
    return Case("data", name, expected, says, prepare)


def tensor(value: float) -> list[paddle.Tensor]:
    return [data(2, 4), paddle.full([2, 4], value)]


CASES = [
    case("NaN in a batch", NonFiniteError, "layer '0' input: batch 1 holds NaN", calibrating(lambda: tensor(float("nan")))),
    case("Inf in a batch", NonFiniteError, "layer '0' input: batch 1 holds Inf", calibrating(lambda: tensor(float("inf")))),
    case("-Inf in a batch", NonFiniteError, "layer '0' input: batch 1 holds Inf", calibrating(lambda: tensor(float("-inf")))),
    case("NaN made by the model", NonFiniteError, "layer 'after' input", calibrating(lambda: [data(2, 4)], dividing)),
    case("an empty batch", CalibrationError, r"^batch 0 \(float32 \[0, 4\]\) is empty", calibrating(lambda: [paddle.zeros([0, 4])])),
    case(
        "inputs of another size",
        CalibrationError,
        r"batch 1 \(float32 \[2, 5\]\): layer '0' raises",
        calibrating(lambda: [data(2, 4), data(2, 5)]),
    ),
    case("a number in place of a batch", CalibrationError, r"batch 0 is of type float32", calibrating(lambda: [np.float32(1)])),
    case("integer data", CalibrationError, r"batch 0 \(int64 \[2, 4\]\): layer '0'", calibrating(lambda: [np.ones((2, 4), np.int64)])),
    case("boolean data", CalibrationError, r"batch 0 \(bool \[2, 4\]\): layer '0'", calibrating(lambda: [np.ones((2, 4), bool)])),
    case(
        "float64 tensors", CalibrationError, r"batch 0 \(float64 \[2, 4\]\): layer '0'", calibrating(lambda: [data(2, 4).astype("float64")])
    ),
    case("float16 data", CalibrationError, r"batch 0 \(float16 \[2, 4\]\): layer '0'", calibrating(lambda: [np.ones((2, 4), np.float16)])),
    case(
        "complex data", UnsupportedDtypeError, "layer '0' input, batch 0.*complex64", calibrating(lambda: [np.ones((2, 4), np.complex64)])
    ),
    case("an array of objects", CalibrationError, "batch 0 .*dtype object", calibrating(lambda: [np.array([None] * 4)])),
    case("an array of text", CalibrationError, "batch 0 .*dtype <U1", calibrating(lambda: [np.array([["a"] * 4])])),
    case("an array of dates", CalibrationError, "batch 0 .*datetime64", calibrating(lambda: [np.zeros((2, 4), "M8[D]")])),
    case("a structured array", CalibrationError, "batch 0 .*<f4", calibrating(lambda: [np.zeros(2, [("a", "f4")])])),
    case("batches that are None", CalibrationError, "batch 0 is of type NoneType", calibrating(lambda: [None])),
    case("batches that are text", CalibrationError, "batch 1 is of type str", calibrating(lambda: [data(2, 4), "cat.jpg"])),
    case("too few inputs", CalibrationError, r"batch 0 \(no tensor\): Sequential raises TypeError", calibrating(lambda: [()])),
    case("inputs of unknown names", CalibrationError, "batch 0 .*'pixels'", calibrating(lambda: [{"pixels": data(2, 4)}])),
    case("inputs by number", CalibrationError, "batch 0 .*keywords must be strings", calibrating(lambda: [{0: data(2, 4)}])),
    case("a forward that raises", CalibrationError, r"batch 0 .*layer 'inner' raises KeyError", calibrating(lambda: [data(2, 4)], failing)),
    case("a loader without batches", NoCalibrationDataError, "no batch", calibrating(lambda: iter(()))),
    case(
        "a loader that drops its only batch",
        NoCalibrationDataError,
        "drop_last",
        calibrating(lambda: paddle.io.DataLoader(Samples(), batch_size=4, drop_last=True)),
    ),
    case("a loader that raises", OSError, "the disk of the data set is gone", calibrating(broken_loader)),  # documented: its own error
    case("a data set in place of a loader", ConfigError, "DataLoader", calibrating(Samples())),
    case("one batch in place of a loader", ConfigError, "Tensor", calibrating(lambda: data(2, 4))),
    case("a path in place of a loader", ConfigError, "str", calibrating("images/")),
    case("nothing in place of a loader", ConfigError, "NoneType", calibrating(None)),
    case("max_batches=0", ConfigError, "max_batches.* 0", calibrating([], max_batches=0)),
    case("max_batches=True", ConfigError, "max_batches.* True", calibrating([], max_batches=True)),
    case("input_fn that is no function", ConfigError, "input_fn.* 3", calibrating([], input_fn=3)),
    case(
        "input_fn that returns nothing",
        CalibrationError,
        "batch 0 is of type NoneType",
        calibrating(lambda: [data(2, 4)], input_fn=lambda _: None),
    ),
    case(
        "calibrating a float model",
        ModelError,
        "ImperativePTQ.quantize",
        lambda s: (lambda m: lambda: ptq.calibrate(m, [data(2, 4)]))(s.watch(net())),
    ),
    case(
        "calibrating a converted model",
        ModelError,
        "not converted yet",
        lambda s: (lambda m: lambda: ptq.calibrate(m, [data(2, 4)]))(s.converted()),
    ),
    case("resumed with other data", CalibrationError, r"batch 0 is not the one .*state\.ptqc", lambda s: resuming(s, [data(2, 4, seed=1)])),
    case(
        "resumed with other weights",
        CalibrationError,
        r"state\.ptqc was made with other weights",
        lambda s: resuming(s, [data(2, 4)], net()),
    ),
    case(
        "resumed with a model that saw data",
        CalibrationError,
        "seen no data",
        lambda s: (lambda m: lambda: ptq.calibrate(m, [data(2, 4)], progress=False, resume="new.ptqc"))(s.seen()),
    ),
]
