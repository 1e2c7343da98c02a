"""The coverage ledger: its rows, multiply-accumulates and bytes against numbers worked out by hand, its reasons, its file."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - its usual name
import pytest
from models import Net, SmallNet, absmax, calibrated, converted, data, quietly, small_net
from paddle import nn
from paddle.static import InputSpec
from paddle.vision.models import mobilenet_v2

from ptq import FloatFunctional, ImperativePTQ, LayerInfo, Ledger, PTQConfig, PTQRegistry, coverage
from ptq.layers.gridded import GRIDS
from ptq.reports.coverage import Row
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer
from quantizers.errors import ArtifactError, CorruptArtifactError, ModelError


def full(bits: int = 8) -> PTQConfig:
    return PTQConfig(AbsmaxQuantizer(bits), PerChannelAbsmaxQuantizer(), placement="full")


def rows_of(ledger: Ledger) -> dict[str, Row]:
    assert ledger.untraced == ""
    rows = {row.site: row for row in ledger.rows}
    assert len(rows) == len(ledger.rows)
    return rows


def states_of(ledger: Ledger) -> dict[str, str]:
    return {site: row.state for site, row in rows_of(ledger).items()}


# --- a whole net by hand: batch 4, images 6 x 6, 8 channels; int8 weights, float32 scales and biases


def test_every_row_of_a_small_net() -> None:
    ledger = coverage(converted(small_net(), data(4, 3, 6, 6), config=full(), fuse=True))
    assert ledger.channel_factors is not None
    assert tuple(replace(row, input_factors=None, result_factors=None) for row in ledger.rows) == (
        Row("conv1", "conv2d", "int8", "", 4 * 8 * 36 * 3 * 9, 216 + 32 + 32, 4 * 216 + 32),
        Row("bn1", "identity", "folded"),
        Row("relu#0", "relu", "transparent", "merged into conv1"),
        Row("conv2", "conv2d", "int8", "", 4 * 8 * 36 * 8 * 9, 576 + 32 + 32, 4 * 576 + 32),
        Row("bn2", "identity", "folded"),
        Row("add#0", "add", "int8"),
        Row("relu", "relu", "transparent", "merged into add#0"),
        Row("pool", "pool2d", "int8"),
        Row("flatten~0", "flatten", "transparent"),
        Row("fc", "matmul", "int8", "", 4 * 8 * 5, 40 + 20 + 20, 4 * 40 + 20),
    )
    assert (ledger.model, ledger.converted, ledger.inputs) == ("SmallNet", True, ("float32[4, 3, 6, 6]",))
    assert (ledger.macs, ledger.int8_macs, ledger.int8_share) == (114208, 114208, 1.0)
    assert (ledger.bytes, ledger.float_bytes) == (1000, 3412)


def test_the_same_net_with_grids_on_compute_inputs_only() -> None:
    ledger = coverage(converted(small_net(), data(4, 3, 6, 6), config=absmax(), fuse=True))
    rows = rows_of(ledger)
    assert ledger.int8_share == 1.0
    assert rows["add#0"].state == "float"
    assert "placement='full'" in rows["add#0"].reason
    assert (rows["pool"].state, rows["relu"].state) == ("observed", "transparent")
    assert rows["conv1"].bytes == 280 + 8  # scale and zero point of its own input grid
    assert rows["conv1"].float_bytes == 896


# --- multiply-accumulates, worked out by hand


def _spec(*shape: int | None) -> InputSpec:
    return InputSpec(list(shape), "float32")


def _attend(x: Any) -> Any:
    return F.scaled_dot_product_attention(x, x, x)


MACS: dict[str, tuple[Callable[[], nn.Layer], list[InputSpec], int]] = {
    # 3 x 3 kernel, stride 2, padding 1: 7 -> 4; two groups of 2 input channels
    "grouped convolution": (lambda: nn.Conv2D(4, 6, 3, stride=2, padding=1, groups=2), [_spec(2, 4, 7, 7)], 2 * 6 * 16 * 2 * 9),
    "depthwise convolution": (lambda: nn.Conv2D(4, 4, 3, groups=4), [_spec(1, 4, 5, 5)], 4 * 9 * 9),
    "channels last": (lambda: nn.Conv2D(3, 4, 3, data_format="NHWC"), [_spec(1, 5, 5, 3)], 4 * 9 * 27),
    "convolution 1D": (lambda: nn.Conv1D(3, 4, 5), [_spec(2, 3, 9)], 2 * 4 * 5 * 15),
    "convolution 3D": (lambda: nn.Conv3D(2, 3, 2), [_spec(1, 2, 3, 3, 3)], 3 * 8 * 16),
    # every input element meets 2 output channels of its group and 4 weights each
    "transposed": (lambda: nn.Conv2DTranspose(6, 4, 2, stride=2, groups=2), [_spec(1, 6, 3, 3)], 6 * 9 * 2 * 4),
    "Linear on three axes": (lambda: nn.Linear(8, 5), [_spec(2, 7, 8)], 2 * 7 * 8 * 5),
    "product, transposed": (
        lambda: Net(lambda _, x, y: paddle.matmul(x, y, transpose_x=True, transpose_y=True)),
        [_spec(2, 3, 4, 5), _spec(2, 3, 6, 4)],
        2 * 3 * 5 * 6 * 4,
    ),
    "product, broadcast": (lambda: Net(lambda _, x, y: x @ y), [_spec(2, 3, 4, 5), _spec(5, 7)], 2 * 3 * 4 * 7 * 5),
    "matrix and vector": (lambda: Net(lambda _, x, y: x @ y), [_spec(3, 4, 5), _spec(5)], 3 * 4 * 5),
    "bmm": (lambda: Net(lambda _, x, y: paddle.bmm(x, y)), [_spec(2, 3, 4), _spec(2, 4, 5)], 2 * 3 * 4 * 5),
    "einsum": (lambda: Net(lambda _, x, y: paddle.einsum("bij,bkj->bik", x, y)), [_spec(2, 3, 4), _spec(2, 5, 4)], 2 * 3 * 5 * 4),
    # batch 2, 3 heads, 5 positions, 4 features: two products
    "attention": (lambda: Net(lambda _, x: _attend(x)), [_spec(2, 5, 3, 4)], 2 * (2 * 3 * 5 * 5 * 4)),
    # batch 2, 5 steps; two directions of 4 gates * 6 units, from 8 inputs, then from 12, and from 6 states
    "LSTM": (
        lambda: Net(lambda m, x: m.rnn(x)[0], rnn=nn.LSTM(8, 6, num_layers=2, direction="bidirect")),
        [_spec(2, 5, 8)],
        2 * 5 * 2 * 24 * ((8 + 6) + (12 + 6)),
    ),
    "free batch counts as 1": (lambda: nn.Linear(8, 5), [_spec(None, 8)], 40),
    "nothing to multiply": (lambda: Net(lambda _, x: F.softmax(x + 1)), [_spec(2, 3)], 0),
}


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates(name: str) -> None:
    make, specs, expected = MACS[name]
    ledger = coverage(make(), specs)
    assert ledger.untraced == ""
    assert ledger.macs == expected


def test_multiply_accumulates_of_a_whole_net_against_its_layers() -> None:
    model, expected = mobilenet_v2(scale=0.25, num_classes=10), 0

    def count(layer: nn.Layer, _inputs: Any, output: paddle.Tensor) -> None:
        nonlocal expected
        per_element = layer.weight.shape[0] if isinstance(layer, nn.Linear) else int(np.prod(layer.weight.shape[1:]))
        expected += int(np.prod(output.shape)) * per_element

    for layer in model.sublayers():
        if isinstance(layer, (nn.Conv2D, nn.Linear)):
            layer.register_forward_post_hook(count)
    model.eval()
    model(data(2, 3, 64, 64))
    ledger = coverage(converted(mobilenet_v2(scale=0.25, num_classes=10), data(2, 3, 64, 64), config=full(), fuse=True))
    assert ledger.macs == ledger.int8_macs == expected


# --- what stays float, and why


class OwnLinear(nn.Linear):
    def forward(self, x: Any) -> Any:
        return super().forward(x) * 2


def _skipped() -> nn.Layer:
    block = Net(lambda m, x: m.fc(x), fc=nn.Linear(6, 6))
    block.skip_quant = True
    return Net(lambda m, x: m.fc(m.block(x)), block=block, fc=nn.Linear(6, 6))


def _only_in_eval(m: nn.Layer, x: Any) -> Any:
    return m.fc(x) if paddle.in_dynamic_mode() else m.fc(x) + m.other(x)


FLOAT: dict[str, tuple[Callable[[], nn.Layer], str, str, str]] = {  # model, site, state, what the reason says
    "skip_quant": (_skipped, "block.fc", "float", "skip_quant is set on block"),
    "class with a forward of its own": (
        lambda: Net(lambda m, x: m.fc(m.own(x)), own=OwnLinear(6, 6), fc=nn.Linear(6, 6)),
        "own.matmul#0",
        "float",
        r"OwnLinear has a forward of its own; PTQRegistry.register",
    ),
    "weight outside of a layer": (
        lambda: Net(lambda m, x: F.linear(m.fc(x), m.w.weight), w=nn.Linear(6, 6), fc=nn.Linear(6, 6)),
        "matmul#0",
        "float",
        "no registered layer",
    ),
    "never reached": (lambda: Net(_only_in_eval, fc=nn.Linear(6, 6), other=nn.Linear(6, 6)), "other", "float", "no calibration data"),
    "parameter as operand": (
        lambda: Net(lambda m, x: m.fc(x) + m.w.bias, fc=nn.Linear(6, 6), w=nn.Linear(6, 6)),
        "add#0",
        "observed",
        "one operand is a parameter",
    ),
    "softmax": (lambda: Net(lambda m, x: m.fc(F.softmax(m.fc(x))), fc=nn.Linear(6, 6)), "softmax#0", "observed", "stays float"),
    "gelu": (lambda: Net(lambda m, x: m.fc(m.act(x)), fc=nn.Linear(6, 6), act=nn.GELU()), "act", "observed", "int8 kernel for gelu"),
    "no grid at all": (lambda: Net(lambda m, x: m.fc(x).sin().cos(), fc=nn.Linear(6, 6)), "sin~0", "float", "int8 kernel for sin"),
    "sum of floats": (
        lambda: Net(lambda m, x: m.fc(x) + paddle.sin(x), fc=nn.Linear(6, 6)),
        "add#0",
        "observed",
        "a sum of float tensors stays float",
    ),
    "product off the grid": (
        lambda: Net(lambda m, x: m.fc(x) @ paddle.sin(x).T, fc=nn.Linear(6, 6)),
        "matmul#0",
        "float",
        "its input from sin is on no grid",
    ),
    "layer norm": (lambda: Net(lambda m, x: m.fc(m.norm(x)), fc=nn.Linear(6, 6), norm=nn.LayerNorm(6)), "norm", "observed", "layer_norm"),
    "integers come out": (lambda: Net(lambda m, x: m.fc(x).argmax(-1), fc=nn.Linear(6, 6)), "argmax~0", "float", "no real number"),
}


@pytest.mark.parametrize("name", FLOAT)
def test_what_stays_float_and_why(name: str) -> None:
    make, site, state, reason = FLOAT[name]
    model = quietly(lambda: converted(make(), data(3, 6), config=full()))
    ledger = coverage(model)
    row = rows_of(ledger)[site]
    assert row.state == state
    assert reason in row.reason
    assert any(reason in line and site in line for line in ledger.lines())


def test_batch_norm_that_was_not_folded() -> None:
    model = Net(lambda m, x: F.relu(m.bn(m.conv(x))), conv=nn.Conv2D(3, 4, 3), bn=nn.BatchNorm2D(4))
    model.eval()
    rows = rows_of(coverage(converted(model, data(2, 3, 5, 5), config=full())))
    assert rows["bn"].state in ("float", "observed")
    assert "not folded" in rows["bn"].reason
    assert rows["bn"].bytes == 4 * 4 * 4
    assert rows["relu#0"].state != "transparent"  # there is no compute layer to merge it into


@pytest.mark.parametrize("options", [{}, {"input_spec": [_spec(None, 3, 6, 6)]}, {"fuse_list": [["conv1", "bn1"], ["conv2", "bn2"]]}])
@pytest.mark.parametrize("config", [absmax, full])
def test_folded_batch_norms_and_identities_of_the_user(config: Any, options: dict[str, Any]) -> None:
    model = small_net()
    model.pool = nn.Sequential(nn.Identity(), model.pool)
    states = states_of(coverage(converted(model, data(4, 3, 6, 6), config=config(), fuse=True, **options)))
    assert {site for site, state in states.items() if state == "folded"} == {"bn1", "bn2"}
    assert states["pool.0"] == "transparent"


@pytest.mark.parametrize(("weight_bits", "activation_bits", "said"), [(8, 16, "input has 16"), (16, 8, "weight has 16"), (4, 4, "")])
@pytest.mark.parametrize("placement", ["compute", "full"])
def test_more_than_eight_bits_are_not_int8(weight_bits: int, activation_bits: int, said: str, placement: str) -> None:
    config = PTQConfig(AbsmaxQuantizer(activation_bits), PerChannelAbsmaxQuantizer(weight_bits), placement=placement)
    row = rows_of(coverage(converted(Net(lambda m, x: m.fc(x), fc=nn.Linear(6, 6)), data(3, 6), config=config)))["fc"]
    assert row.state == ("float" if said else "int8")
    assert said in row.reason
    assert row.bytes == 36 * (2 if weight_bits > 8 else 1) + 24 + 24 + (8 if placement == "compute" else 0)


@pytest.mark.parametrize("key", ["head", nn.Linear])
def test_layers_that_the_configuration_leaves_float(key: Any) -> None:
    config = PTQConfig(AbsmaxQuantizer(), overrides={key: None})
    model = Net(lambda m, x: m.head(m.conv(x).mean([2, 3])), conv=nn.Conv2D(3, 6, 3), head=nn.Linear(6, 4))
    rows = rows_of(coverage(converted(model, data(2, 3, 5, 5), config=config)))
    assert rows["head"].reason == "the configuration (overrides) leaves it float"
    assert [rows[site].state for site in ("conv", "head")] == ["int8", "float"]


def test_embeddings_and_recurrent_layers() -> None:
    model = Net(lambda m, x: m.fc(m.rnn(m.table(x))[0]), table=nn.Embedding(10, 8), rnn=nn.LSTM(8, 6), fc=nn.Linear(6, 3))
    ledger = coverage(converted(model, paddle.to_tensor([[1, 2, 3]]), config=full()))
    rows = rows_of(ledger)
    assert (rows["table"].op, rows["table"].state, rows["table"].macs) == ("embedding", "int8", 0)
    assert (rows["rnn"].state, rows["rnn"].macs) == ("float", 3 * 24 * (8 + 6))
    assert "state from step to step is float; its weights are integers" in rows["rnn"].reason
    assert rows["table"].float_bytes == 10 * 8 * 4
    assert rows["rnn"].float_bytes == 4 * 24 * (8 + 6 + 2)
    assert rows["rnn"].bytes == 24 * (8 + 6) + 4 * 2 * 24 + 4 * 2 * 24  # integers, scales, biases
    assert ledger.int8_share == pytest.approx(54 / (54 + 1008))


def test_a_merged_activation_and_an_operand_that_is_a_number() -> None:
    model = Net(lambda m, x: m.fc(F.relu(paddle.concat([m.fc(x), x], 0))), fc=nn.Linear(6, 6))
    rows = rows_of(coverage(converted(model, data(2, 6), config=full())))
    assert (rows["concat#0"].state, rows["relu#0"].state) == ("int8", "transparent")
    model = Net(lambda m, x: m.fc(F.relu(x) + paddle.full([6], 2.0)), fc=nn.Linear(6, 6))
    rows = rows_of(coverage(converted(model, data(2, 6), config=full())))
    assert "parameter or a number" in rows["add#0"].reason


def test_operations_that_only_the_program_shows_are_named_after_the_layer_they_are_in() -> None:
    inner = Net(lambda _, x: x.sin().cos().sin())
    outer = Net(lambda m, x: m.inner(x).sin(), inner=inner)
    model = Net(lambda m, x: m.fc(m.outer(m.outer(x.sin()))), outer=outer, fc=nn.Linear(6, 6))
    expected = ["outer.inner.sin~0", "outer.inner.cos~0", "outer.inner.sin~1", "outer.sin~0"]
    expected += ["outer.inner@1.sin~0", "outer.inner@1.cos~0", "outer.inner@1.sin~1", "outer@1.sin~0"]
    assert [row.site for row in coverage(model, [_spec(2, 6)]).rows] == ["sin~0", *expected, "fc"]


def test_several_calls_and_an_embedding_before_an_activation() -> None:
    model = Net(lambda m, x: m.fc(m.fc(F.relu(m.table(x)))), table=nn.Embedding(10, 6), fc=nn.Linear(6, 6))
    prepared = calibrated(model, paddle.to_tensor([[1, 2, 3]]))
    for ledger in (coverage(prepared), coverage(ImperativePTQ().convert(prepared))):
        assert [states_of(ledger)[site] for site in ("table", "fc", "fc@1")] == ["int8"] * 3


# --- attention


@pytest.mark.parametrize("placement", ["full", "compute"])
def test_products_of_attention(placement: str) -> None:
    """2 layers, 64 features, 4 heads, 128 hidden; 3 x 10 positions: products of activations are 2 * 10 * 64 of 34048 a position."""
    config = PTQConfig(AbsmaxQuantizer(), placement=placement)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128), 2)
    encoder.eval()
    ledger = coverage(converted(encoder, data(3, 10, 64), config=config))
    rows = rows_of(ledger)
    products = [f"layers.{layer}.self_attn.matmul#{number}" for layer in (0, 1) for number in (0, 1)]
    assert ledger.macs == 2 * 30 * (4 * 64 * 64 + 2 * 64 * 128 + 2 * 10 * 64)
    assert {rows[site].state for site in products} == {"int8" if placement == "full" else "float"}
    assert ledger.int8_share == pytest.approx(1.0 if placement == "full" else 1 - 1280 / 34048)
    if placement == "full":
        assert rows["layers.0.self_attn.scale#0"].state == "observed"
        assert rows["layers.1.self_attn.softmax#0"].state == "observed"


def test_attention_with_a_mask_and_as_a_function() -> None:
    def compute(m: nn.Layer, x: Any, mask: Any) -> Any:
        y = m.attention(x, attn_mask=mask)
        heads = m.fc(y).reshape([2, 5, 2, 4])
        return m.out(F.scaled_dot_product_attention(heads, heads, heads).reshape([2, 5, 8]))

    model = Net(compute, attention=nn.MultiHeadAttention(8, 2), fc=nn.Linear(8, 8), out=nn.Linear(8, 3))
    model.eval()
    engine = ImperativePTQ(full())
    prepared = engine.quantize(model)
    prepared(data(2, 5, 8), paddle.zeros([2, 2, 5, 5]))
    ledger = coverage(engine.convert(prepared))
    rows = rows_of(ledger)
    assert [rows[f"{scope}matmul#{n}"].state for scope in ("attention.", "") for n in (0, 1)] == ["int8"] * 4
    assert ledger.int8_share == 1.0
    assert "feeds a softmax" in rows["attention.add#0"].reason


@pytest.mark.parametrize("placement", ["full", "compute"])
def test_a_product_that_is_a_layer(placement: str) -> None:
    model = Net(lambda m, x: m.product.matmul(m.fc(x), x, transpose_y=True), product=FloatFunctional(), fc=nn.Linear(6, 6))
    row = rows_of(coverage(converted(model, data(3, 6), config=PTQConfig(AbsmaxQuantizer(), placement=placement))))["product"]
    assert (row.state, row.macs) == ("int8" if placement == "full" else "float", 3 * 3 * 6)
    assert ("placement='full'" in row.reason) is (placement == "compute")


def test_convolutions_over_one_axis_get_a_grid_behind_them() -> None:
    model = Net(lambda m, x: m.a(x) + m.b(x), a=nn.Conv1D(3, 3, 3, padding=1), b=nn.Conv1D(3, 3, 1))
    assert states_of(coverage(converted(model, data(2, 3, 7), config=full()))) == {"a": "int8", "b": "int8", "add#0": "int8"}


# --- parameters


def test_every_parameter_is_counted_once() -> None:
    fc = nn.Linear(6, 6)
    model = Net(lambda m, x: m.fc(m.fc(x)) + m.table.weight[0], fc=fc, table=nn.Linear(6, 2), unused=nn.Linear(6, 4))
    model.table.weight = model.create_parameter([2, 6])
    twin = quietly(lambda: converted(model, data(3, 6), config=full()))
    ledger = coverage(twin)
    rows = rows_of(ledger)
    assert (rows["fc"].bytes, rows["fc@1"].bytes) == (36 + 24 + 24, 0)
    assert (rows["fc"].macs, rows["fc@1"].macs) == (3 * 36, 3 * 36)
    assert rows["add#0"].bytes == 2 * 6 * 4
    assert (rows["unused"].op, rows["unused"].bytes) == ("parameters", 24 * 4 + 16)
    grids = {id(tensor) for tensor in twin._sub_layers[GRIDS].buffers()}
    stored = [tensor for tensor in (*twin.parameters(), *twin.buffers()) if id(tensor) not in grids]
    assert ledger.bytes == sum(tensor.size * tensor.element_size() for tensor in stored)
    assert ledger.float_bytes == sum(tensor.size * 4 for tensor in model.parameters())


# --- other states of the model


def test_a_model_under_calibration_gets_a_forecast() -> None:
    prepared = calibrated(small_net(), data(4, 3, 6, 6), config=full(), fuse=True)
    forecast = coverage(prepared)
    assert not forecast.converted
    assert "forecast" in forecast.lines()[0]
    result = coverage(ImperativePTQ().convert(prepared))
    assert [(row.site, row.state, row.macs) for row in forecast.rows] == [(row.site, row.state, row.macs) for row in result.rows]
    assert forecast.bytes == result.bytes - 4 * (8 + 8 + 5)  # without scales
    before_data = coverage(ImperativePTQ(full()).quantize(small_net()), [_spec(1, 3, 6, 6)])
    assert {row.reason for row in before_data.rows if row.op == "conv2d"} == {"no calibration data reached it"}


def test_a_float_model_is_float() -> None:
    ledger = coverage(small_net(), [_spec(4, 3, 6, 6)])
    assert ledger.int8_share == 0.0
    assert rows_of(ledger)["conv1"].reason == "the model was not prepared by quantize"


def test_a_model_that_is_one_layer() -> None:
    for config in (absmax(), full()):
        ledger = coverage(converted(nn.Linear(6, 4), data(3, 6), config=config))
        assert [(row.op, row.state, row.macs) for row in ledger.rows] == [("matmul", "int8", 72)]


def test_a_copy_and_a_pickle_have_the_same_ledger() -> None:
    model = converted(small_net(), data(4, 3, 6, 6), config=full(), fuse=True)
    assert coverage(copy.deepcopy(model)) == coverage(model) == coverage(pickle.loads(pickle.dumps(model)))


def test_the_model_is_left_as_it_was() -> None:
    model = converted(small_net(), data(4, 3, 6, 6), config=full(), fuse=True)
    model.train()
    x = data(2, 3, 6, 6, seed=1)
    before, made = model(x).numpy(), type(model)
    hooks = [(len(layer._forward_pre_hooks), len(layer._forward_post_hooks)) for layer in model.sublayers(include_self=True)]
    relu = paddle._C_ops.relu
    coverage(model)
    assert type(model) is made
    assert model.__class__ is SmallNet
    assert all(layer.training for layer in model.sublayers(include_self=True))
    assert [(len(layer._forward_pre_hooks), len(layer._forward_post_hooks)) for layer in model.sublayers(include_self=True)] == hooks
    assert np.array_equal(model(x).numpy(), before)
    assert paddle._C_ops.relu is relu


class Untraceable(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.act = nn.GELU()

    def forward(self, x: Any) -> Any:
        return self.act(self.fc(paddle.to_tensor(np.array(x.tolist(), dtype="float32"))))


def test_a_model_that_cannot_be_traced_gets_a_ledger_that_says_so() -> None:
    ledger = coverage(quietly(lambda: converted(Untraceable(), data(3, 6))))
    assert "Untraceable cannot be traced" in ledger.untraced
    assert [(row.site, row.op, row.state, row.macs) for row in ledger.rows] == [("fc", "Linear", "int8", 0), ("act", "GELU", "observed", 0)]
    assert (ledger.bytes, ledger.float_bytes) == (36 + 24 + 24 + 8, 168)
    assert any("cannot be traced" in line for line in ledger.lines())


def test_without_shapes_it_asks_for_them() -> None:
    ledger = coverage(small_net())
    assert "pass input_spec" in ledger.untraced
    assert {row.state for row in ledger.rows} == {"float"}


def test_a_spec_that_does_not_fit_is_said_not_raised() -> None:
    ledger = coverage(converted(small_net(), data(4, 3, 6, 6), fuse=True), [_spec(1, 3, 6)])
    assert "cannot be traced" in ledger.untraced
    for odd in (5, [None], [_spec(1, 3, 6, 6)] * 3):
        assert coverage(small_net(), odd).untraced


def test_what_is_no_dygraph_model_is_refused() -> None:
    with pytest.raises(ModelError, match=r"paddle.nn.Layer"):
        coverage("model")
    paddle.enable_static()
    try:
        with pytest.raises(ModelError, match="static mode"):
            coverage(nn.Linear(2, 2))
    finally:
        paddle.disable_static()


# --- the table and the file


def test_the_table() -> None:
    model = Net(lambda m, x: m.fc(F.gelu(m.fc(x) @ m.w.weight)), fc=nn.Linear(1000, 1000), w=nn.Linear(1000, 1000))
    ledger = coverage(quietly(lambda: converted(model, data(2, 1000), config=full())))
    short, every = ledger.lines(), ledger.lines(full=True)
    assert str(ledger) == "\n".join(short)
    assert "66.67% of 6.00 M multiply-accumulates in int8 (one call with float32[2, 1000])" in short[1]
    assert [line.split()[0] for line in every[4:]] == [row.site for row in ledger.rows]
    totals = ledger.by_op()["matmul"]
    assert totals == {"int8": 2, "float": 1, "macs": 6_000_000, "int8_macs": 4_000_000, "bytes": 5_008_000, "float_bytes": 8_004_000}


def _ledger() -> Ledger:
    return Ledger("Net", True, ("float32[1, 2]",), (Row("a", "matmul", "int8", "", 6, 3, 12), Row("b#0", "gelu", "float", "no kernel")))


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.ptq.coverage.json"
    _ledger().to_json(path)
    assert Ledger.from_json(path) == _ledger()
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["version"] == 1
    assert content["totals"]["int8_share"] == 1.0
    assert content["totals"]["ops"] == {"int8": 1, "observed": 0, "folded": 0, "transparent": 0, "float": 1}
    ImperativePTQ().save_quantized_model(converted(nn.Linear(6, 4), data(3, 6)), str(tmp_path / "m"))
    _ledger().to_json(path)
    assert paddle.jit.load(str(tmp_path / "m")) is not None  # which reads other JSON files as programs


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another format": lambda d: d.update(format="x"),
    "a later version": lambda d: d.update(version=2),
    "no rows": lambda d: d.pop("rows"),
    "rows of the wrong type": lambda d: d.update(rows={}),
    "inputs of the wrong type": lambda d: d.update(inputs=[1]),
    "unknown state": lambda d: d["rows"][0].update(state="quantized"),
    "negative size": lambda d: d["rows"][0].update(macs=-1),
    "a boolean for a number": lambda d: d["rows"][0].update(bytes=True),
    "a column too many": lambda d: d["rows"][1].update(more=1),
    "a row that is none": lambda d: d["rows"].append(3),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(name: str, tmp_path: Path) -> None:
    content = _ledger().to_dict()
    BROKEN[name](content)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CorruptArtifactError, match=r"broken\.json is no coverage ledger"):
        Ledger.from_json(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"3"])
def test_a_file_that_is_no_ledger_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(CorruptArtifactError, match=r"odd\.json"):
        Ledger.from_json(path)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="missing"):
        Ledger.from_json(tmp_path / "missing.json")
    with pytest.raises(ArtifactError, match="cannot be written"):
        _ledger().to_json(tmp_path)


# --- against a runtime


@pytest.mark.parametrize("name", ["net", "encoder"])
def test_it_agrees_with_the_kernels_of_onnx_runtime(name: str, tmp_path: Path) -> None:
    for module in ("onnx", "onnxruntime", "paddle2onnx"):
        pytest.importorskip(module)
    from ptq.export.onnx.export import export_onnx

    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 2)
    encoder.eval()
    model, x = (small_net(), data(4, 3, 8, 8)) if name == "net" else (encoder, data(3, 6, 16))
    model = converted(model, x, config=full(), fuse=True)
    report = quietly(lambda: export_onnx(model, tmp_path / "model.onnx"))
    runtime = next(runtime for runtime in report.runtimes if runtime.runtime == "ONNX Runtime")
    compute = [row for row in coverage(model).rows if row.macs]
    assert len(runtime.kernels) == len(compute) == (3 if name == "net" else 16)
    assert sum(kernel.is_int8 for kernel in runtime.kernels) == sum(row.state == "int8" for row in compute) == len(compute)


class Scaling(nn.Layer):
    """A layer of a user, and below a twin of it that derives from nothing of this project."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self.create_parameter([4, 4])

    def forward(self, x: Any) -> Any:
        return x @ self.weight


class OwnTwin(Scaling):
    """A twin that keeps its weight as it likes."""

    input_qparams = None

    @classmethod
    def from_float(cls, layer: Any, *_: Any) -> OwnTwin:
        twin = cls()
        twin.weight = layer.weight
        return twin

    def forward(self, x: Any) -> Any:
        return x @ self.weight


class ForeignTwin(nn.Layer):
    """One that does not derive from its float layer either."""

    input_qparams = None

    @classmethod
    def from_float(cls, layer: Any, *_: Any) -> ForeignTwin:
        twin = cls()
        twin.weight = layer.weight
        return twin

    def forward(self, x: Any) -> Any:
        return x @ self.weight


@pytest.mark.parametrize("twin", [OwnTwin, ForeignTwin])
def test_a_twin_of_a_user_has_a_row(twin: type) -> None:
    PTQRegistry.register(LayerInfo(Scaling, ["x"], ["weight"], ["out"], quant_axis=1), twin=twin)
    try:
        model = Net(lambda m, x: m.fc(m.own(x)), own=Scaling(), fc=nn.Linear(4, 4))
        ledger = coverage(converted(model, data(2, 4), config=absmax()))
    finally:
        PTQRegistry.unregister(Scaling)
    assert ledger.untraced == ""
    assert {row.site for row in ledger.rows if row.macs} == {"own", "fc"}
    assert states_of(ledger)["fc"] == "int8"
    (own,) = (row for row in ledger.rows if row.site == "own")
    assert (own.state, twin.__name__ in own.reason) == ("float", True), "a width that it does not tell is not claimed"
