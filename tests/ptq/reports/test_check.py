"""Every finding of the preflight check: on a model that shows it, and not on its neighbour that does not."""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from models import Branching, Net, converted, data, quietly, small_net
from paddle import nn
from paddle.static import InputSpec

import ptq
from ptq import CheckReport, Finding, ImperativePTQ
from ptq.calibration.hooks import observation_of
from ptq.reports import check as preflight
from ptq.reports.check.unchanged import unchanged
from quantizers.errors import AlreadyQuantizedError, ConfigError, ModelError, NonFiniteError, QuantizationWarning, UnsupportedDtypeError

X = (2, 4)
SPEC = [InputSpec([None, 4], "float32")]


def net(compute: Callable[..., Any] = lambda m, x: m.fc(x), **layers: nn.Layer) -> nn.Layer:
    """A model in eval mode around a Linear called ``fc``."""
    model = Net(compute, fc=nn.Linear(4, 4), **layers)
    model.eval()
    return model


def changed(model: nn.Layer, change: Callable[[nn.Layer], Any]) -> nn.Layer:
    change(model)
    return model


def with_weight(value: Callable[[np.ndarray], Any]) -> nn.Layer:
    model = net()
    array = model.fc.weight.numpy()
    value(array)
    model.fc.weight.set_value(array)
    return model


def filters(*values: float) -> np.ndarray:
    """Weights of a convolution from two channels to three."""
    return np.array(values, np.float32).reshape([3, 2, 1, 1])


def recompute(model: nn.Layer) -> None:
    """Makes the weight a plain tensor."""
    weight = model.fc._parameters.pop("weight")
    model.fc.weight = weight * 1


class Scaled(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) * 2


class Untraceable(nn.Layer):
    """Leaves the framework in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.fc(paddle.to_tensor(x.tolist()))


def tied() -> nn.Layer:
    model = net(lambda m, x: m.other(m.fc(x)), other=nn.Linear(4, 4))
    model.other.weight = model.fc.weight
    return model


# code: severity, layer, a model that shows it, one that does not, and what both are checked with
CASES: dict[str, tuple[str, str, Callable[[], nn.Layer], Callable[[], nn.Layer], Any]] = {
    "train-mode": (
        *("warning", "bn"),
        lambda: changed(net(lambda m, x: m.bn(m.fc(x)), bn=nn.BatchNorm1D(4)), lambda m: m.bn.train()),
        lambda: changed(net(lambda m, x: m.bn(m.fc(x)), bn=nn.BatchNorm1D(4, use_global_stats=True)), lambda m: m.bn.train()),
        None,
    ),
    "train-mode of the model": ("info", "", lambda: changed(net(), lambda m: m.train()), net, None),
    "dropout-active": (
        *("warning", "drop"),
        lambda: changed(net(drop=nn.Dropout(0.1)), lambda m: m.train()),
        lambda: changed(net(drop=nn.Dropout(0.0)), lambda m: m.train()),
        None,
    ),
    "dropout-active in attention": (
        *("warning", "attention"),
        lambda: changed(net(attention=nn.MultiHeadAttention(4, 2, dropout=0.1)), lambda m: m.train()),
        lambda: net(attention=nn.MultiHeadAttention(4, 2, dropout=0.1)),
        None,
    ),
    "dropout-active in a function": (
        *("warning", "inner"),
        lambda: net(lambda m, x: m.fc(m.inner(x)), inner=Net(lambda _, x: F.dropout(x, 0.5))),
        lambda: net(lambda m, x: m.fc(m.inner(x)), inner=Net(lambda m, x: F.dropout(x, 0.5, training=m.training))),
        SPEC,
    ),
    "random": (
        *("warning", ""),
        lambda: net(lambda m, x: m.fc(x) + paddle.rand([4])),
        lambda: net(lambda m, x: m.fc(x) + paddle.ones([4])),
        SPEC,
    ),
    "not-repeatable": (
        *("warning", ""),
        lambda: net(lambda m, x: m.fc(x) * np.random.rand()),
        lambda: net(lambda m, x: m.fc(x) * 0.5),
        data(*X),
    ),
    "dead-layer": (
        *("warning", "dead"),
        lambda: net(dead=nn.Sequential(nn.Linear(4, 4), nn.ReLU())),
        lambda: net(lambda m, x: m.live(m.fc(x)), live=nn.Sequential(nn.Linear(4, 4), nn.ReLU())),
        SPEC,
    ),
    "dead-layer without weights": (
        *("info", "blocks.0"),
        lambda: net(lambda m, x: m.blocks[1](m.fc(x)), blocks=nn.LayerList([nn.ReLU(), nn.ReLU()])),
        lambda: net(lambda m, x: m.blocks[1](m.blocks[0](m.fc(x))), blocks=nn.LayerList([nn.ReLU(), nn.ReLU()])),
        data(*X),
    ),
    "shared-layer": ("info", "fc", lambda: changed(net(), lambda m: setattr(m, "alias", m.fc)), net, None),
    "called-again": (
        *("info", "fc"),
        lambda: net(lambda m, x: m.fc(m.fc(x))),
        lambda: net(lambda m, x: m.other(m.fc(x)), other=nn.Linear(4, 4)),
        SPEC,
    ),
    "called-again without places": ("warning", "fc", Branching, net, SPEC),
    "tied-weights": ("info", "fc", tied, lambda: net(other=nn.Linear(4, 4)), None),
    "non-finite-weight": (
        *("error", "fc"),
        lambda: with_weight(lambda w: w.__setitem__((1, 2), np.inf)),
        lambda: changed(with_weight(lambda w: w.__setitem__((1, 2), np.nan)), lambda m: setattr(m.fc, "skip_quant", True)),
        None,
    ),
    "non-finite": ("warning", "fc", lambda: changed(net(), lambda m: m.fc.bias.set_value(data(4) / 0)), net, None),
    "zero-channels": (
        *("info", "fc"),
        lambda: with_weight(lambda w: w.__setitem__((slice(None), 2), 0)),
        lambda: with_weight(lambda w: w.__setitem__((2, slice(None)), 0)),  # a row is no output channel
        None,
    ),
    "zero-channels of a convolution": (
        *("info", "conv"),
        lambda: changed(net(conv=nn.Conv2D(2, 3, 1)), lambda m: m.conv.weight.set_value(filters(0, 0, 1, 2, 0, 3))),
        lambda: changed(net(conv=nn.Conv2D(2, 3, 1)), lambda m: m.conv.weight.set_value(filters(0, 1, 0, 2, 0, 3))),
        None,
    ),
    "constant-weight": ("warning", "fc", lambda: with_weight(lambda w: w.fill(0.5)), net, None),
    "empty-weight": ("error", "empty", lambda: net(empty=nn.Linear(0, 4)), net, None),
    "complex-weight": ("error", "fc", lambda: changed(net(), lambda m: m.fc.to(dtype="complex64")), net, None),
    "half-on-cpu": ("warning", "fc", lambda: changed(net(), lambda m: m.to(dtype="float16")), net, None),
    "float64": ("info", "fc", lambda: changed(net(), lambda m: m.to(dtype="float64")), net, None),
    "unregistered-tensor": (
        *("warning", ""),
        lambda: changed(net(), lambda m: setattr(m, "table", {"a": [paddle.ones([2])]})),
        lambda: changed(net(), lambda m: (m.register_buffer("table", paddle.ones([2])), setattr(m, "tables", [m.table]))),
        None,
    ),
    "own-forward": ("warning", "own", lambda: net(own=Scaled(4, 4)), lambda: net(own=nn.Linear(4, 4)), None),
    "weight-norm": ("info", "normed", lambda: net(normed=nn.utils.weight_norm(nn.Linear(4, 4))), net, None),
    "recomputed-weight": ("warning", "fc", lambda: changed(net(), recompute), net, None),
    "nothing-to-quantize": ("warning", "", lambda: nn.ReLU(), net, None),
    "untraceable": ("error", "", Untraceable, net, SPEC),
    "branches": ("warning", "", Branching, net, SPEC),
    "norm-not-folded": (
        *("info", "bn"),
        lambda: net(lambda m, x: m.fc(m.bn(x)), bn=nn.BatchNorm1D(4)),
        lambda: net(lambda m, x: m.bn(m.fc(x)), bn=nn.BatchNorm1D(4)),
        SPEC,
    ),
    "non-finite-activation": (
        *("error", "inner.divide#0"),
        lambda: net(lambda m, x: m.inner(m.fc(x)), inner=Net(lambda _, x: F.relu(x - 100) / F.relu(x - 100) + x)),
        lambda: net(lambda m, x: m.inner(m.fc(x)), inner=Net(lambda _, x: F.relu(x) / 1)),
        data(*X),
    ),
    "forward-raises": (
        *("error", "inner"),
        lambda: net(lambda m, x: m.inner(m.fc(x)), inner=Net(lambda _, x: x.reshape([3, 3]))),
        lambda: net(lambda m, x: m.inner(m.fc(x)), inner=Net(lambda _, x: x.reshape([4, 2]))),
        data(*X),
    ),
}


def of(report: CheckReport, code: str) -> list[Finding]:
    return [finding for finding in report if finding.code == code]


@pytest.mark.parametrize("case", CASES)
def test_finding(case: str) -> None:
    code = case.split(" ")[0]
    severity, layer, show, neighbour, inputs = CASES[case]
    found = [finding for finding in of(ptq.check(show(), inputs), code) if finding.severity == severity]
    assert [finding.layer for finding in found] == [layer]
    assert found[0].message
    assert found[0].advice
    assert layer not in [finding.layer for finding in of(ptq.check(neighbour(), inputs), code) if finding.severity == severity]


def test_every_code_has_a_case() -> None:
    codes = set()
    for path in Path(preflight.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                codes.add(ast.literal_eval(node.args[2]))
    assert codes == {case.split(" ")[0] for case in CASES} | set(OBSTACLES) | {"static-mode"}


def test_a_sound_model_has_no_findings() -> None:
    for inputs in (None, [InputSpec([None, 3, 8, 8], "float32")], data(2, 3, 8, 8), {"x": data(2, 3, 8, 8)}, [data(2, 3, 8, 8)]):
        assert len(ptq.check(small_net(), inputs)) == 0


def test_a_dropout_is_found_in_the_innermost_layer_around_it() -> None:
    model = net(lambda m, x: m.inner(m.fc(F.dropout(x, 0.5))), inner=Net(lambda _, x: F.relu(x)))
    assert [finding.layer for finding in of(ptq.check(model, SPEC), "dropout-active")] == [""]
    model = net(lambda m, x: F.dropout(m.inner(m.fc(x)), 0.5), inner=Net(lambda _, x: F.relu(x)))
    assert [finding.layer for finding in of(ptq.check(model, SPEC), "dropout-active")] == [""]


def test_the_gap_is_measured_in_bits() -> None:
    model = net(lambda m, x: (m.fc(x), m.fc(x * 50.0), m.fc(x * 0.0)))
    (finding,) = of(ptq.check(model, data(*X)), "called-again")
    assert "3 calls" in finding.message
    assert f"{np.log2(50):.1f} bits" in finding.message
    (unknown,) = of(ptq.check(model, SPEC), "called-again")
    assert "unknown without an example" in unknown.message


def test_a_forward_of_the_instance_leaves_one_range_for_all_calls() -> None:
    model = net()
    model.forward = lambda x: model.fc(model.fc(x))
    assert [finding.severity for finding in of(ptq.check(model, SPEC), "called-again")] == ["warning"]


def test_a_small_gap_in_one_merged_range_is_no_warning() -> None:
    class Calm(Branching):
        def forward(self, x: Any) -> Any:
            y = self.fc(x)
            if paddle.mean(x) > -100:
                y = self.fc(x * 1.5)
            return y

    assert [finding.severity for finding in of(ptq.check(Calm(), data(*X)), "called-again")] == ["info"]
    model = Branching()
    model.fc.weight.set_value(paddle.eye(4))
    (merged,) = of(ptq.check(model, data(*X)), "called-again")
    assert (merged.severity, "6.0 bits" in merged.message) == ("warning", True)


def test_an_untraceable_model_is_measured_all_the_same() -> None:
    class Twice(Untraceable):
        def __init__(self) -> None:
            super().__init__()
            self.dead = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return self.fc(x) + self.fc(paddle.to_tensor(x.tolist()) * 4.0)

    report = ptq.check(Twice(), data(*X))
    assert len(of(report, "untraceable")) == len(of(report, "dead-layer")) == 1
    assert "2.0 bits" in of(report, "called-again")[0].message


def test_an_infinite_mask_is_no_error() -> None:
    mask = paddle.to_tensor([[0.0, float("-inf")]] * 2)
    masked = net(lambda m, x: F.softmax(F.relu(m.fc(x))[:, :2] / 1.0 + m.mask))
    masked.register_buffer("mask", mask)
    report = ptq.check(masked, data(*X))
    assert [(finding.severity, finding.layer) for finding in of(report, "non-finite-activation")] == [("info", "add#0")]
    assert not report.errors
    given = net(lambda m, x, y: F.softmax(m.fc(x) + y))
    report = ptq.check(given, [data(*X), paddle.to_tensor([0.0, 0, 0, float("-inf")])])
    assert [(finding.severity, finding.layer) for finding in report] == [("info", "")]
    report = ptq.check(net(), paddle.full(X, float("inf")))
    assert [(finding.severity, finding.layer) for finding in report] == [("error", "fc"), ("info", "")]
    report = ptq.check(net(), paddle.full(X, float("nan")))
    assert [(finding.severity, finding.layer) for finding in report] == [("error", "")]


def test_the_innermost_layer_that_raises_is_named() -> None:
    model = net(lambda m, x: m.seq(m.fc(x)), seq=nn.Sequential(nn.ReLU(), nn.Linear(3, 3)))
    (finding,) = ptq.check(model, data(*X)).errors
    assert (finding.code, finding.layer) == ("forward-raises", "seq.1")
    assert "ValueError" in finding.message
    assert "given float32 [2, 4]" in finding.message
    (integers,) = ptq.check(net(), paddle.ones(X, "int64")).errors
    assert (integers.code, integers.layer, "given int64 [2, 4]" in integers.message) == ("forward-raises", "fc", True)
    (wrong,) = ptq.check(net(), [data(*X), data(*X), data(*X)]).errors
    assert (wrong.code, wrong.layer, "TypeError" in wrong.message) == ("forward-raises", "", True)


def _static(model: nn.Layer) -> nn.Layer:
    return paddle.jit.to_static(model, full_graph=True)


OBSTACLES: dict[str, tuple[Callable[[], nn.Layer], str, type[Exception]]] = {
    "data-parallel": (lambda: paddle.DataParallel(net()), "", ModelError),
    "static-function": (lambda: net(inner=_static(nn.Linear(4, 4))), "inner", ModelError),
    "prepared": (lambda: ImperativePTQ().quantize(net()), "", AlreadyQuantizedError),
    "quantized": (lambda: nn.Sequential(nn.ReLU(), converted(net(), data(*X)).fc), "1", AlreadyQuantizedError),
    "non-finite-weight": (CASES["non-finite-weight"][2], "fc", NonFiniteError),
    "complex-weight": (CASES["complex-weight"][2], "fc", UnsupportedDtypeError),
    "empty-weight": (CASES["empty-weight"][2], "empty", ModelError),
}


@pytest.mark.filterwarnings("ignore::UserWarning:paddle")
@pytest.mark.parametrize("code", OBSTACLES)
def test_quantize_raises_what_the_check_calls_an_error(code: str) -> None:
    make, layer, error = OBSTACLES[code]
    model = make()
    (finding,) = ptq.check(model).errors
    assert (finding.code, finding.layer) == (code, layer)
    with pytest.raises(error) as raised:
        ImperativePTQ().quantize(model)
    for part in (finding.layer, finding.message, finding.advice):
        assert part in str(raised.value)


def test_an_example_is_run_twice_without_gradients() -> None:
    seen: list[bool] = []
    ptq.check(net(lambda m, x: (seen.append(paddle.is_grad_enabled()), m.fc(x))[1]), data(*X))
    assert seen[:2] == [False, False]
    assert len(seen) == 3  # and traced once


def test_random_numbers_are_reported_once_and_those_of_train_mode_not_at_all() -> None:
    active = net(lambda m, x: F.dropout(m.fc(x), 0.5))
    assert [finding.code for finding in ptq.check(active, data(*X))] == ["dropout-active"]
    training = net(lambda m, x: m.drop(m.fc(x)), drop=nn.Dropout(0.5))
    training.train()
    assert [(finding.code, finding.layer) for finding in ptq.check(training, data(*X))] == [("dropout-active", "drop")]


def test_a_prepared_model_is_not_fed_the_example() -> None:
    prepared = ImperativePTQ().quantize(net())
    ptq.check(prepared, data(*X))
    observation = observation_of(prepared)
    assert observation is not None
    assert observation.batches == 0


def test_static_mode() -> None:
    model = net()
    paddle.enable_static()
    try:
        (finding,) = ptq.check(model, SPEC)
        with pytest.raises(ModelError, match=r"static mode.*disable_static"):
            ImperativePTQ().quantize(model)
        assert not paddle.in_dynamic_mode()
    finally:
        paddle.disable_static()
    assert finding.code == "static-mode"
    assert not of(ptq.check(model, SPEC), "static-mode")


def test_quantize_warns_once_of_what_nobody_else_says() -> None:
    model = net(lambda m, x: m.bn(m.fc(x)), bn=nn.BatchNorm1D(4), second=nn.BatchNorm1D(4), own=Scaled(4, 4))
    model.train()
    with pytest.warns(QuantizationWarning) as caught:
        ImperativePTQ().quantize(model)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    assert "bn, second: in train mode" in texts[0]
    assert "model.eval()" in texts[0]
    assert sum("forward of their own" in text for text in texts) == 1


def test_quantize_with_fuse_puts_the_model_in_eval_mode_and_says_nothing_of_train_mode() -> None:
    model = net(lambda m, x: m.bn(m.fc(x)), bn=nn.BatchNorm1D(4), drop=nn.Dropout(0.5))
    model.train()
    ImperativePTQ().quantize(model, fuse=True)
    with pytest.warns(QuantizationWarning, match="train mode"):
        ImperativePTQ().quantize(model)


def test_quantize_does_not_run_the_model() -> None:
    def forward(model: Any, x: Any) -> Any:
        model.runs.append(1)
        return model.fc(x)

    model = net(forward)
    model.runs = []
    assert not model.runs
    ImperativePTQ().quantize(model, inplace=True)
    assert not model.runs
    quietly(lambda: model(data(*X)))
    assert model.runs


class Diary(nn.Layer):
    """Changes itself, its argument and the random numbers in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.bn = nn.Linear(4, 4), nn.BatchNorm1D(4)
        self.register_buffer("calls", paddle.zeros([1]))
        self.log: list[Any] = []
        self.count = 0

    def forward(self, x: Any) -> Any:
        self.count += 1
        self.log.append(x)
        self.calls.add_(paddle.ones([1]))
        self.last = x
        x.add_(paddle.ones([4]))
        return self.bn(self.fc(F.dropout(x, 0.5)))


def _picture(model: nn.Layer) -> dict[str, Any]:
    return {
        name: (
            layer.training,
            {key: id(value) for key, value in vars(layer).items()},
            {key: list(map(id, value)) for key, value in vars(layer).items() if isinstance(value, (list, dict, set))},
            {key: value.numpy().tolist() for key, value in (*layer._buffers.items(), *layer._parameters.items())},
        )
        for name, layer in model.named_sublayers(include_self=True)
    }


@pytest.mark.parametrize("kind", ["nothing", "spec", "example"])
def test_everything_is_left_as_it_was(kind: str) -> None:
    model, x = Diary(), data(*X)
    model.fc.eval()
    model.register_forward_post_hook(lambda *_: None)
    before, array = _picture(model), x.numpy()
    entry_points = vars(nn.Layer)["__call__"], vars(paddle.Tensor)["__add__"]
    paddle.seed(7)
    expected = paddle.rand([3]).numpy()
    paddle.seed(7)
    report = ptq.check(model, {"nothing": None, "spec": SPEC, "example": x}[kind])
    np.testing.assert_array_equal(paddle.rand([3]).numpy(), expected)
    assert not report.errors
    assert _picture(model) == before
    assert (vars(nn.Layer)["__call__"], vars(paddle.Tensor)["__add__"]) == entry_points
    assert paddle.in_dynamic_mode()
    assert paddle.is_grad_enabled()
    np.testing.assert_array_equal(x.numpy(), array)


def test_the_picture_would_show_a_change() -> None:
    model = Diary()
    before = _picture(model)
    model(data(*X))
    assert _picture(model) != before
    before = _picture(model)
    with contextlib.suppress(RuntimeError), unchanged(model):
        model(data(*X))
        raise RuntimeError("on the way")
    assert _picture(model) == before


def test_a_model_whose_forward_raises_is_left_as_it_was() -> None:
    model = net(lambda m, x: m.inner(m.fc(x)), inner=Net(lambda _, x: x.reshape([3, 3])))
    model.train()
    before = _picture(model)
    ptq.check(model, data(*X))
    ptq.check(model, SPEC)
    assert _picture(model) == before


def test_report() -> None:
    model = net(lambda m, x: m.bn(m.fc(x)), bn=nn.BatchNorm1D(4), other=nn.BatchNorm1D(4), flat=nn.Linear(4, 4))
    model.flat.weight.set_value(paddle.full([4, 4], float("nan")))
    model.train()
    report = ptq.check(model)
    assert isinstance(report, CheckReport)
    assert [finding.severity for finding in report] == ["error", "warning", "warning"]
    assert report[0] == report.errors[0]
    assert report[:1] == (report[0],)
    assert len(report.warnings) == 2
    lines = str(report).splitlines()
    assert lines == report.lines()
    assert lines[0] == "Net: 1 error, 2 warnings"
    assert len(lines) == 5  # the two batch norms are one entry
    assert "bn, other: " in lines[3]
    found = json.loads(json.dumps(report.to_dict()))
    assert found["model"] == "Net"
    assert found["findings"][1] == {
        "severity": "warning",
        "layer": "bn",
        "code": "train-mode",
        "message": report[1].message,
        "advice": report[1].advice,
    }
    assert ptq.check(small_net()).lines() == ["SmallNet: nothing found"]


def test_a_long_list_of_layers_is_cut_short() -> None:
    model = nn.Sequential(nn.Linear(4, 4), *[nn.BatchNorm1D(4) for _ in range(9)])
    assert "1, 2, 3, 4, 5 and 4 more: " in str(ptq.check(model))


@pytest.mark.parametrize("inputs", [3, "x", object()])
def test_inputs_of_no_use_are_refused(inputs: Any) -> None:
    with pytest.raises(ConfigError, match="input_spec_or_example"):
        ptq.check(net(), inputs)
    with pytest.raises(ModelError, match=r"must be a paddle\.nn\.Layer"):
        ptq.check(inputs)


def test_arguments_of_every_kind() -> None:
    class Many(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, pair: Any, scale: float = 1.0, *, more: Any) -> Any:
            return {"y": self.fc(pair["a"]) * scale + more[0]}

    arguments = {"pair": {"a": data(*X)}, "scale": 2.0, "more": [data(*X)]}
    model = Many()
    model.eval()
    assert len(ptq.check(model, arguments)) == 0
    arguments["more"] = [InputSpec([None, 4], "float32")]
    assert len(ptq.check(model, arguments)) == 0
    assert len(ptq.check(net(), np.ones(X, np.float32))) == 0
    assert len(ptq.check(net(), InputSpec([None, 4], "float32"))) == 0


def test_a_recurrent_layer_is_not_taken_apart() -> None:
    model = net(lambda m, x: m.lstm(m.fc(x).reshape([1, 2, 4]))[0], lstm=nn.LSTM(4, 4))
    assert not of(ptq.check(model, data(*X)), "dead-layer")
    assert not of(ptq.check(model), "unregistered-tensor")
    assert not of(ptq.check(model), "tied-weights")
