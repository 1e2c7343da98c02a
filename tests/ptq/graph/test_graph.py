"""The traced dataflow: call sites, functional operations, what follows what, what is never negative; and no trace left on the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
import pytest
from models import Net, data, small_net
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from paddle.static import InputSpec

from ptq import FloatFunctional
from ptq.graph.dataflow import CallSite, Graph, Op
from ptq.graph.tracing import trace
from quantizers.errors import TraceError

VECTOR = InputSpec([None, 4], "float32")
IMAGE = InputSpec([None, 3, 8, 8], "float32")


def _graph(compute: Any, *specs: Any, **layers: nn.Layer) -> Graph:
    return trace(Net(compute, **layers), specs or [VECTOR])


def _names(ops: Sequence[Op]) -> list[str]:
    return [op.name for op in ops]


def test_call_sites_of_a_small_net() -> None:
    graph = trace(small_net(), [IMAGE])
    assert graph.layers() == ["conv1", "bn1", "conv2", "bn2", "relu", "pool", "fc"]
    assert all(len(graph.sites_of(name)) == 1 for name in graph.layers())
    conv, norm = graph.sites_of("conv1")[0], graph.sites_of("bn1")[0]
    assert conv.outputs == norm.inputs
    assert graph.sites_of("fc")[0].outputs == graph.outputs
    assert graph.sites_of("nothing") == []


def test_functional_operations_are_seen() -> None:
    graph = trace(small_net(), [IMAGE])
    norm = graph.sites_of("bn1")[0].outputs[0]
    assert [op.name for op in graph.consumers(norm)] in (["pd_op.relu"], ["pd_op.relu_"])
    added = graph.sites_of("relu")[0].inputs[0]
    producer = graph.producer(added)
    assert producer is not None
    assert producer.name == "pd_op.add"
    assert graph.sites_of("bn2")[0].outputs[0] in producer.inputs


def test_a_layer_used_twice_has_two_call_sites() -> None:
    graph = _graph(lambda net, x: net.fc(F.relu(net.fc(x))), fc=nn.Linear(4, 4))
    first, second = graph.sites_of("fc")
    assert first.inputs != second.inputs
    assert second.outputs == graph.outputs


def test_a_layer_that_is_never_used_has_none() -> None:
    graph = _graph(lambda net, x: net.fc(x), fc=nn.Linear(4, 4), spare=nn.Linear(4, 4))
    assert graph.sites_of("spare") == []
    assert not graph.is_followed_by_activation("spare")
    assert not graph.has_nonnegative_input("spare")
    assert graph.output_rank("spare") == 0
    assert graph.sole_reader("spare") is None


def test_aliases_have_one_name() -> None:
    model = Net(lambda net, x: net.second(net.first(x)), first=nn.Linear(4, 4))
    model.second = model.first
    graph = trace(model, [VECTOR])
    assert graph.layers() == ["first"]
    assert len(graph.sites_of("first")) == 2


def test_a_leaf_as_the_whole_model() -> None:
    graph = trace(nn.Linear(4, 2), [VECTOR])
    assert graph.layers() == [""]
    assert graph.sites_of("")[0].outputs == graph.outputs


def test_layers_called_by_keyword() -> None:
    graph = _graph(lambda net, x: net.fc(input=F.relu(x)), fc=nn.Linear(4, 4))
    assert len(graph.sites_of("fc")[0].inputs) == 1
    assert graph.has_nonnegative_input("fc")


def test_operations_of_a_layer() -> None:
    graph = _graph(lambda net, x: net.fc(F.relu(x)), fc=nn.Linear(4, 4))
    ops = _names(graph.ops_of(graph.sites_of("fc")[0]))
    assert sorted(ops) == ["builtin.parameter", "builtin.parameter", "pd_op.add", "pd_op.matmul"]


ACTIVATIONS = [F.relu, F.relu6, F.leaky_relu, F.hardswish, F.hardsigmoid, F.swish, F.silu, F.gelu, F.sigmoid, paddle.tanh, F.elu]


@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda function: function.__name__)
def test_followed_by_a_functional_activation(function: Any) -> None:
    assert _graph(lambda net, x: function(net.fc(x)), fc=nn.Linear(4, 4)).is_followed_by_activation("fc")


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardswish, nn.Silu, nn.GELU, nn.Sigmoid, nn.Tanh])
def test_followed_by_an_activation_layer(act: Any) -> None:
    assert _graph(lambda net, x: net.act(net.fc(x)), fc=nn.Linear(4, 4), act=act()).is_followed_by_activation("fc")


@pytest.mark.parametrize(
    "compute",
    [
        lambda net, x: net.fc(x),
        lambda net, x: (F.relu(net.fc(x)), net.fc.bias.sum()) and net.fc(x) + 1,
        lambda net, x: F.softmax(net.fc(x)),
    ],
    ids=["output", "addition", "softmax"],
)
def test_not_followed_by_an_activation(compute: Any) -> None:
    assert not _graph(compute, fc=nn.Linear(4, 4)).is_followed_by_activation("fc")


def test_activation_and_something_else() -> None:
    def branches(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        y = net.fc(x)
        return F.relu(y) + y

    def output_too(net: Any, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        y = net.fc(x)
        return F.relu(y), y

    def only_once(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        return net.fc(F.relu(net.fc(x)))

    def two_activations(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        y = net.fc(x)
        return F.relu(y) + F.sigmoid(y)

    answers = [_graph(compute, fc=nn.Linear(4, 4)).is_followed_by_activation("fc") for compute in (branches, output_too, only_once)]
    assert answers == [False, False, False]
    assert _graph(two_activations, fc=nn.Linear(4, 4)).is_followed_by_activation("fc")


def _pools(x: paddle.Tensor) -> paddle.Tensor:
    return F.max_pool2d(F.relu(x), 2, padding=1)


def _assigned(x: paddle.Tensor) -> paddle.Tensor:
    y = F.relu(x)
    y[:, 0] = -5.0
    return y


NONNEGATIVE: dict[str, tuple[Any, Any]] = {
    "relu": (F.relu, VECTOR),
    "sigmoid": (F.sigmoid, VECTOR),
    "softmax": (F.softmax, VECTOR),
    "exp": (paddle.exp, VECTOR),
    "abs": (paddle.abs, VECTOR),
    "relu then reshape": (lambda x: F.relu(x).reshape([-1, 2, 2]).transpose([0, 2, 1]).flatten(1), VECTOR),
    "relu then dropout": (lambda x: F.dropout(F.relu(x), training=False), VECTOR),
    "sum of two": (lambda x: F.relu(x) + F.sigmoid(x), VECTOR),
    "product of two": (lambda x: F.relu(x) * F.sigmoid(x), VECTOR),
    "concat of two": (lambda x: paddle.concat([F.relu(x), F.relu(-x)], axis=1)[:, :4], VECTOR),
    "split": (lambda x: paddle.concat(paddle.split(F.relu(x), 2, axis=1), axis=1), VECTOR),
    "max pool": (_pools, IMAGE),
    "average pool": (lambda x: F.avg_pool2d(F.relu(x), 2), IMAGE),
    "global average pool": (lambda x: F.adaptive_avg_pool2d(F.relu(x), 1), IMAGE),
    "mean": (lambda x: F.relu(x).mean([2, 3]), IMAGE),
    "positive constant": (lambda x: F.relu(x) * paddle.full([1], 3.0), VECTOR),
    "zero padding in all dimensions": (lambda x: F.pad(F.relu(x), [0, 0, 0, 0, 1, 1, 1, 1]), IMAGE),
    "zero padding": (lambda x: F.pad(F.relu(x), [1, 1, 1, 1]), IMAGE),
    "reflection": (lambda x: F.pad(F.relu(x), [1, 1, 1, 1], mode="reflect"), IMAGE),
}
MAYBE_NEGATIVE: dict[str, tuple[Any, Any]] = {
    "input": (lambda x: x.reshape([-1, 4]), VECTOR),
    "relu minus one": (lambda x: F.relu(x) - 1, VECTOR),
    "scaled": (lambda x: F.relu(x) * -2.0, VECTOR),
    "one may be negative": (lambda x: F.relu(x) + x, VECTOR),
    "product with the input": (lambda x: F.relu(x) * x, VECTOR),
    "concat with the input": (lambda x: paddle.concat([F.relu(x), x], axis=1)[:, :4], VECTOR),
    "leaky relu": (F.leaky_relu, VECTOR),
    "hardswish": (F.hardswish, VECTOR),
    "gelu": (F.gelu, VECTOR),
    "tanh": (paddle.tanh, VECTOR),
    "log of relu": (lambda x: paddle.log(F.relu(x) + 0.1), VECTOR),
    "assigned to": (_assigned, VECTOR),
    "negative constant": (lambda x: F.relu(x) + paddle.full([1], -3.0), VECTOR),
    "difference": (lambda x: F.relu(x) - F.sigmoid(x), VECTOR),
    "negative padding value": (lambda x: F.pad(F.relu(x), [1, 1, 1, 1], value=-5.0), IMAGE),
    "negative value in all dimensions": (lambda x: F.pad(F.relu(x), [0, 0, 0, 0, 1, 1, 1, 1], value=-5.0), IMAGE),
}


@pytest.mark.parametrize("name", [*NONNEGATIVE, *MAYBE_NEGATIVE])
def test_nonnegative_inputs(name: str) -> None:
    function, spec = {**NONNEGATIVE, **MAYBE_NEGATIVE}[name]
    shape = [2 if size in (None, -1) else size for size in spec.shape]
    x = data(*shape) * 3
    width = function(x).shape[-1]
    graph = _graph(lambda net, x: net.fc(function(x)), spec, fc=nn.Linear(width, 2))
    assert graph.has_nonnegative_input("fc") is (name in NONNEGATIVE)
    if name in NONNEGATIVE:
        assert float(function(x).min()) >= 0


def test_nonnegative_at_every_call_site() -> None:
    graph = _graph(lambda net, x: net.fc(F.relu(net.fc(x))), fc=nn.Linear(4, 4))
    assert not graph.has_nonnegative_input("fc")


def test_sole_reader() -> None:
    graph = trace(small_net(), [IMAGE])
    assert graph.sole_reader("conv1") == "bn1"
    assert graph.sole_reader("conv2") == "bn2"
    assert graph.sole_reader("bn1") is None  # a function reads it
    assert graph.sole_reader("pool") is None
    assert graph.sole_reader("fc") is None


def test_private_parameters() -> None:
    private = _graph(lambda net, x: net.a(x) + net.b(x), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    assert private.has_private_parameters("a")
    shared = Net(lambda net, x: net.a(x) + net.b(x), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    shared.b.weight = shared.a.weight
    assert not trace(shared, [VECTOR]).has_private_parameters("a")
    read = _graph(lambda net, x: net.a(x) + net.a.bias.sum(), a=nn.Linear(4, 4))
    assert not read.has_private_parameters("a")
    twice = _graph(lambda net, x: net.a(net.a(x)), a=nn.Linear(4, 4))
    assert twice.has_private_parameters("a")


def test_output_rank() -> None:
    graph = _graph(lambda net, x: net.fc(x), InputSpec([None, 5, 4], "float32"), fc=nn.Linear(4, 4))
    assert graph.output_rank("fc") == 3


def test_float_functional_has_call_sites() -> None:
    graph = _graph(lambda net, x: net.sum.add(net.fc(x), x), fc=nn.Linear(4, 4), sum=FloatFunctional())
    assert graph.layers() == ["fc", "sum"]
    assert len(graph.sites_of("sum")[0].inputs) == 2


class Nested(nn.Layer):
    """Takes a dict and a list, answers with a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, batch: dict[str, Any], scale: float, others: list[Any]) -> dict[str, Any]:
        return {"first": self.fc(batch["x"]) * scale, "rest": [other + 1 for other in others]}


def test_nested_arguments_and_answers() -> None:
    graph = trace(Nested(), [{"x": VECTOR}, 2.0], {"others": [VECTOR]})
    assert graph.layers() == ["fc"]
    assert len(graph.outputs) == 2


class OddNames(nn.Layer):
    """A ``forward`` whose first parameter is not called ``self``: Paddle itself cannot trace it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(this, x):  # noqa: N805
        return F.relu(this.fc(x))


class VariableArguments(nn.Layer):
    """Paddle cannot trace it as the outermost model either."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, *args: Any, **kwargs: Any) -> paddle.Tensor:
        return F.relu(self.fc(*args, **kwargs))


@pytest.mark.parametrize("kind", [OddNames, VariableArguments])
def test_unusual_signatures(kind: type[nn.Layer]) -> None:
    graph = trace(kind(), [VECTOR])
    assert graph.is_followed_by_activation("fc")


def test_arguments_by_name() -> None:
    graph = trace(Net(lambda net, x, y: net.fc(x + y), fc=nn.Linear(4, 4)), [], {"x": VECTOR, "y": VECTOR})
    assert graph.layers() == ["fc"]


def test_control_flow_in_the_program_is_walked() -> None:
    def forward(net: Any, x: paddle.Tensor) -> paddle.Tensor:
        for _ in range(2):
            x = F.relu(net.fc(x))
        return x

    graph = _graph(forward, fc=nn.Linear(4, 4))
    assert len(graph.sites_of("fc")) == 2
    assert graph.is_followed_by_activation("fc")


def _picture(model: nn.Layer) -> dict[str, Any]:
    """Everything on the model that tracing could touch."""
    picture: dict[str, Any] = {}
    for name, layer in model.named_sublayers(include_self=True):
        attributes = {key: id(value) for key, value in vars(layer).items() if key != "_built"}  # Paddle's own note of a call
        picture[name] = (
            attributes,
            layer.training,
            list(layer._forward_pre_hooks.items()),
            list(layer._forward_post_hooks.items()),
            dict(layer._original_funcs),
            [(key, value.numpy().tobytes()) for key, value in layer.state_dict().items()],
        )
    return picture


@pytest.mark.parametrize("training", [True, False])
def test_tracing_leaves_the_model_untouched(training: bool) -> None:
    model = small_net()
    model.train() if training else model.eval()
    model.bn1.eval()
    model.fc.register_forward_post_hook(lambda *_: None)
    x = data(2, 3, 8, 8)
    before = _picture(model)
    trace(model, [IMAGE])
    assert paddle.in_dynamic_mode()
    assert _picture(model) == before
    expected = small_net()
    expected.set_state_dict(model.state_dict())
    model.eval()
    expected.eval()
    np.testing.assert_array_equal(model(x).numpy(), expected(x).numpy())
    assert isinstance(model(x), paddle.Tensor)


def test_a_failed_trace_leaves_the_model_untouched() -> None:
    model = Net(lambda net, x: net.fc(paddle.to_tensor(x.tolist())), fc=nn.Linear(4, 4))
    model.train()
    before = _picture(model)
    with pytest.raises(TraceError, match=r"Net cannot be traced into a program"):
        trace(model, [VECTOR])
    assert paddle.in_dynamic_mode()
    assert _picture(model) == before
    assert model(data(2, 4)).shape == [2, 4]


def test_message_of_a_failed_trace_is_short() -> None:
    model = Net(lambda net, x: net.fc(x) + net.nothing, fc=nn.Linear(4, 4))
    with pytest.raises(TraceError) as raised:
        trace(model, [VECTOR])
    assert len(str(raised.value)) < 600
    assert "\n" not in str(raised.value)
    assert re.search("nothing", str(raised.value))


def test_the_graph_is_that_of_eval_mode() -> None:
    model = Net(lambda net, x: net.a(x) if net.training else net.b(x), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    model.train()
    assert trace(model, [VECTOR]).layers() == ["b"]
    assert model.training


def test_running_statistics_are_not_updated_by_tracing() -> None:
    model = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4))
    model.train()
    before = model[1]._mean.numpy()
    trace(model, [IMAGE])
    np.testing.assert_array_equal(model[1]._mean.numpy(), before)


def test_a_graph_made_by_hand() -> None:
    ops = [Op("pd_op.data", (), (0,)), Op("pd_op.relu", (0,), (1,)), Op("pd_op.add", (1, 1), (2,))]
    graph = Graph(ops, [CallSite("act", (0,), (1,)), CallSite("sum", (1, 1), (2,))], (2,), {0: 2, 1: 2, 2: 2})
    assert graph.producer(1) is ops[1]
    assert graph.producer(9) is None
    assert graph.consumers(1) == [ops[2]]  # once, though it reads the value twice
    assert graph.sole_reader("act") == "sum"
    assert graph.has_nonnegative_input("sum")
    assert graph.is_nonnegative(2)
    assert not graph.is_nonnegative(0)
