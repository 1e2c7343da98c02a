"""Models that cannot be quantized, or not as they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from hostile_case import Act, Case, Scene, net
from models import Net, absmax, data, quietly
from paddle import nn
from paddle.static import InputSpec

import ptq
from ptq import ImperativePTQ, PTQConfig
from quantizers import AbsmaxQuantizer
from quantizers.errors import (
    AlreadyQuantizedError,
    ConfigError,
    ExportError,
    FuseError,
    ModelError,
    NoCalibrationDataError,
    NonFiniteError,
    QuantizationWarning,
    TraceError,
    UnsupportedDtypeError,
)

__all__ = ["CASES"]

ENGINE = ImperativePTQ(absmax())
FULL = PTQConfig(AbsmaxQuantizer(), placement="full")
SPEC = [InputSpec([None, 4], "float32")]


def changed(change: Callable[[nn.Layer], Any], model: nn.Layer | None = None) -> nn.Layer:
    model = net() if model is None else model
    change(model)
    return model


def with_weight(value: float) -> nn.Layer:
    weight = np.ones((4, 2), np.float32)
    weight[1, 1] = value
    return changed(lambda m: m[2].weight.set_value(weight))


def around(compute: Callable[..., Any] = lambda m, x: m.fc(x), **layers: nn.Layer) -> nn.Layer:
    """A model with a Linear ``fc`` from 4 numbers to 4."""
    model = Net(compute, fc=nn.Linear(4, 4), **layers)
    model.eval()
    return model


class Untraceable(nn.Layer):
    """Leaves the framework between its two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.eval()

    def forward(self, x: Any) -> Any:
        return self.other(paddle.to_tensor(self.fc(x).tolist()))


class Sharing(Untraceable):
    """Calls one layer twice, with inputs far apart."""

    def forward(self, x: Any) -> Any:
        return self.fc(x) + self.fc(paddle.to_tensor((x * 64.0).tolist()))


class Branching(Untraceable):
    """Chooses by data."""

    def forward(self, x: Any) -> Any:
        y = self.fc(x)
        if paddle.mean(x) > 0:
            y = self.other(y)
        return y


class Nameless(Untraceable):
    """Its forward does not call itself ``self``."""

    def forward(this, x: Any) -> Any:  # noqa: N805
        return this.fc(x)


class Selfish(Untraceable):
    """Its own sublayer."""

    def __init__(self) -> None:
        super().__init__()
        self.child = self


class Scaled(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) * 2


def recompute(model: nn.Layer) -> None:
    weight = model[0]._parameters.pop("weight")
    model[0].weight = weight * 1


def run(scene: Scene, model: nn.Layer, **options: Any) -> Act:
    """Calibration with one batch of a model that is prepared already."""
    prepared = scene.prepared(model, **options)
    return lambda: prepared(data(4, 4))


def converting(scene: Scene, model: nn.Layer) -> Act:
    prepared = scene.prepared(model)
    quietly(lambda: prepared(data(4, 4)))
    scene.watch(prepared)
    return lambda: ENGINE.convert(prepared, inplace=False)


def statically(act: Act) -> Act:
    """The same in static mode, which must still be on afterwards."""
    paddle.enable_static()
    return act


def nested(scene: Scene) -> Act:
    inner = scene.watch(scene.prepared())
    return scene.quantize(around(lambda m, x: m.inner(m.fc(x)), inner=inner))


def mixed(scene: Scene) -> Act:
    """A model with a quantized part."""
    return scene.quantize(around(lambda m, x: m.inner(m.fc(x)), inner=scene.converted()))


def case(name: str, expected: type[BaseException], says: str, prepare: Callable[[Scene], Act]) -> Case:
    return Case("model", name, expected, says, prepare)


CASES = [
    case("text in place of a model", ModelError, "'resnet18'", lambda _: lambda: ENGINE.quantize("resnet18")),
    case("a class in place of a model", ModelError, "Linear", lambda _: lambda: ENGINE.quantize(nn.Linear)),
    case(
        "a lock among its attributes",
        ModelError,
        "Sequential cannot be copied.*lock.*inplace=True",
        lambda s: s.quantize(changed(lambda m: setattr(m, "lock", threading.Lock()))),
    ),
    case("a model that holds itself", ModelError, "Selfish holds itself", lambda _: (lambda m: lambda: ENGINE.quantize(m))(Selfish())),
    case("NaN in a weight", NonFiniteError, r"\b2\b.*NaN", lambda s: s.quantize(with_weight(float("nan")))),
    case("Inf in a weight", NonFiniteError, r"\b2\b", lambda s: s.quantize(with_weight(float("inf")))),
    case("a complex weight", UnsupportedDtypeError, "0.*complex64", lambda s: s.quantize(changed(lambda m: m[0].to(dtype="complex64")))),
    case("a weight without elements", ModelError, "empty", lambda s: s.quantize(around(empty=nn.Linear(0, 4)))),
    case(
        "an integer weight",
        UnsupportedDtypeError,
        "'0' weight.*int32",
        lambda s: s.quantize(changed(lambda m: m[0]._parameters.update(weight=paddle.ones([4, 4], "int32")))),
    ),
    case("float16 on a CPU", QuantizationWarning, "float16", lambda s: s.quantize(changed(lambda m: m.to(dtype="float16")))),
    case(
        "a constant weight",
        QuantizationWarning,
        "0: .*",
        lambda s: s.quantize(changed(lambda m: m[0].weight.set_value(m[0].weight * 0 + 1))),
    ),
    case(
        "a batch norm in train mode",
        QuantizationWarning,
        "^bn",
        lambda s: s.quantize(changed(lambda m: m.bn.train(), around(bn=nn.BatchNorm1D(4)))),
    ),
    case(
        "an active dropout",
        QuantizationWarning,
        "^drop",
        lambda s: s.quantize(changed(lambda m: m.drop.train(), around(drop=nn.Dropout(0.5)))),
    ),
    case("prepared twice", AlreadyQuantizedError, "prepared by quantize already", lambda s: s.quantize(s.prepared())),
    case("a part prepared before", AlreadyQuantizedError, "prepared by quantize already", nested),
    case("quantized twice", AlreadyQuantizedError, "already", lambda s: s.quantize(s.converted())),
    case("a part quantized before", AlreadyQuantizedError, r"inner\.0", mixed),
    case("wrapped in DataParallel", ModelError, "_layers", lambda s: s.quantize(paddle.DataParallel(net()))),
    case("turned into a program", ModelError, "to_static", lambda s: s.quantize(paddle.jit.to_static(net()))),
    case("quantize in static mode", ModelError, "disable_static", lambda s: statically(s.quantize(net()))),
    case("convert in static mode", ModelError, "disable_static", lambda s: (lambda m: statically(lambda: ENGINE.convert(m)))(s.seen())),
    case(
        "check in static mode",
        QuantizationWarning,
        "static mode is on",
        lambda s: (lambda m: statically(lambda: warn_of(ptq.check(m))))(s.watch(net())),
    ),
    case("coverage in static mode", ModelError, "static mode", lambda s: (lambda m: statically(lambda: ptq.coverage(m)))(s.converted())),
    case(
        "convert before quantize",
        ModelError,
        "prepared with ImperativePTQ.quantize",
        lambda s: (lambda m: lambda: ENGINE.convert(m))(s.watch(net())),
    ),
    case("convert twice", ModelError, "not converted yet", lambda s: (lambda m: lambda: ENGINE.convert(m))(s.converted())),
    case("convert without data", NoCalibrationDataError, "'0'", lambda s: (lambda m: lambda: ENGINE.convert(m))(s.watch(s.prepared()))),
    case("nothing to quantize", QuantizationWarning, "^ReLU has no layer", lambda s: s.quantize(nn.ReLU())),
    case("convert with nothing to quantize", ModelError, "^ReLU has no layer", lambda s: converting(s, nn.ReLU())),
    case("a layer that is never called", QuantizationWarning, "dead", lambda s: converting(s, around(dead=nn.Linear(4, 4)))),
    case("one layer at two places, untraced", QuantizationWarning, "fc.* bits", lambda s: converting(s, Sharing())),
    case("a forward of its own", QuantizationWarning, r"own \(Scaled\)", lambda s: s.quantize(around(own=Scaled(4, 4)))),
    case("a weight that is recomputed", QuantizationWarning, "computed in every forward: 0", lambda s: s.quantize(changed(recompute))),
    case(
        "a weight that was deleted",
        QuantizationWarning,
        "no parameter.*: 0",
        lambda s: s.quantize(changed(lambda m: delattr(m[0], "weight"))),
    ),
    case("untraceable", QuantizationWarning, "Untraceable cannot be traced", lambda s: run(s, Untraceable())),
    case("untraceable, placement full", TraceError, "Untraceable.*placement='compute'", lambda s: run(s, Untraceable(), config=FULL)),
    case("untraceable, to fuse", TraceError, "Untraceable.*fuse_list", lambda s: run(s, Untraceable(), fuse=True)),
    case("branches, placement full", TraceError, "Branching branches", lambda s: run(s, Branching(), config=FULL)),
    case("first parameter not self", ExportError, "Nameless cannot be saved.*'self'", lambda s: saving(s, Nameless())),
    case(
        "input_spec of another size",
        QuantizationWarning,
        "Sequential cannot be traced",
        lambda s: s.quantize(net(), input_spec=[InputSpec([None, 5])]),
    ),
    case("input_spec that is no list", ConfigError, "input_spec.*'4'", lambda s: s.quantize(net(), input_spec="4")),
    case("fuse_list without fuse", ConfigError, "fuse=True", lambda s: s.quantize(net(), fuse_list=[["0", "1"]])),
    case("fuse_list of unknown names", FuseError, "'bn9'", lambda s: s.quantize(net(), fuse=True, fuse_list=[["0", "bn9"]])),
    case("fuse_list that is text", FuseError, "'0,1'", lambda s: s.quantize(net(), fuse=True, fuse_list="0,1")),
    case(
        "fuse_list of what does not belong together", FuseError, "'0', '2'", lambda s: s.quantize(net(), fuse=True, fuse_list=[["0", "2"]])
    ),
    case(
        "fuse_list against the dataflow",
        FuseError,
        "'fc', 'bn'",
        lambda s: run(s, around(lambda m, x: m.bn(nn.functional.relu(m.fc(x))), bn=nn.BatchNorm1D(4)), fuse=True, fuse_list=[["fc", "bn"]]),
    ),
    case(
        "fused, and never called",
        FuseError,
        "never called",
        lambda s: (lambda m: (m.forward(data(4, 4)), lambda: ENGINE.convert(m))[1])(s.prepared(fuse=True)),
    ),
    case(
        "tensors in a plain dict",
        ExportError,
        "register_buffer",
        lambda s: saving(
            s, changed(lambda m: setattr(m, "table", {"a": paddle.ones([4])}), around(lambda m, x: paddle.add(m.fc(x), m.table["a"])))
        ),
    ),
    case("saved though untraceable", ExportError, "Untraceable cannot be saved", lambda s: saving(s, Untraceable())),
]


def saving(scene: Scene, model: nn.Layer) -> Act:
    ready = scene.converted(model)
    return lambda: ENGINE.save_quantized_model(ready, str(scene.folder / "model"), input_spec=SPEC)


def warn_of(report: ptq.CheckReport) -> None:
    """What a user sees of a report."""
    ptq.util.messages.warn(str(report))
