"""What is collected is what the layers read and should answer, whatever the memory."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from models import absmax
from paddle import nn
from recovery_cases import bench_of, samples

from ptq import PTQConfig
from ptq.recovery.collect import Collector
from ptq.recovery.gram import Gram
from ptq.recovery.workbench import Workbench


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return bench_of()


def direct(bench: Workbench, name: str) -> Gram:
    """The sums of one layer of `small_net`, from whole inputs and results."""
    (unit,) = (unit for unit in bench.units if unit.name == name)
    gram = Gram.empty(*unit.goal.shape)
    for sample in bench.fit:
        (x,), _ = sample.call()
        read = answer = x
        with paddle.no_grad():
            for position in range(int(name)):
                read, answer = bench.model[position](read), bench.float_model[position](answer)
            read, answer = unit.twins[0].quantize_input(read), unit.layers[0](answer)
        places = np.arange(unit.layout.places(answer.numpy()))
        columns = unit.layout.columns(read.numpy(), answer.shape, places)
        wanted = (unit.layout.results(answer.numpy(), places) * unit.factors).reshape(len(places), unit.goal.shape[0], -1).swapaxes(0, 1)
        gram.add(columns, wanted, len(x))
    return gram


@pytest.mark.parametrize("name", ["0", "2", "6"])
def test_sums_are_those_of_the_data(bench: Workbench, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptq.recovery.collect.LEAST", 1 << 20)  # all places
    found, expected = Collector(bench).grams(bench.units)[name], direct(bench, name)
    assert found.count == expected.count
    for part in ("products", "crossed", "squares"):
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.means.columns, expected.means.columns, rtol=1e-5, atol=1e-6)
    assert len(found.held.columns) == Workbench.count(bench.held)


def test_units_are_in_the_order_of_execution_and_biases_are_the_float_ones(bench: Workbench) -> None:
    assert [unit.name for unit in bench.units] == ["0", "2", "6"]
    np.testing.assert_allclose(bench.biases["0"], bench.float_model[0].bias.numpy(), rtol=1e-6)
    # what the twins stand for, within half a step
    for unit in bench.units:
        assert (np.abs(unit.integers * unit.scale - unit.goal) <= unit.scale * 0.5 + 1e-6).all()


def test_little_memory_gives_the_same_sums(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Collector(bench).grams(bench.units)
    most = max(Collector(bench).bytes_of(unit) for unit in bench.units)
    monkeypatch.setattr(bench, "memory", 2 * most + 2)
    small = Collector(bench)
    assert len(small.parts(bench.units)) > 1
    assert not small._keeps
    found = small.grams(bench.units)
    for name, gram in whole.items():
        np.testing.assert_array_equal(found[name].products, gram.products)
    monkeypatch.setattr(bench, "memory", most)
    assert len(Collector(bench).grams(bench.units)) < 3


def test_places_are_sampled_alike_every_time(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptq.recovery.collect.LEAST", 100)
    monkeypatch.setattr("ptq.recovery.collect.EACH", 1)
    first, second = (Collector(bench).grams(bench.units[:1])["0"] for _ in range(2))
    np.testing.assert_array_equal(first.products, second.products)
    assert 100 <= first.count < 2160


def test_the_forward_ends_where_all_was_seen(bench: Workbench) -> None:
    calls: list[str] = []
    hook = bench.model[6].register_forward_pre_hook(lambda *_: calls.append("linear"))
    Collector(bench).grams(bench.units[:1])
    hook.remove()
    assert not calls


class Tied(nn.Layer):
    """Two linear layers with one weight, the first called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
        self.two.weight = self.one.weight

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.two(nn.functional.relu(self.one(nn.functional.relu(self.one(x.flatten(2).mean(1)[:, :6])))))


@pytest.mark.parametrize("placement", ["compute", "full"])
def test_a_shared_weight_has_one_sum_over_all_uses(placement: str) -> None:
    config = absmax(4)
    tied = bench_of(Tied(), PTQConfig(config.in_act_quantizer, config.wt_quantizer, placement=placement), samples(3))
    (unit,) = tied.units
    assert unit.names == ("one", "two")
    gram = Collector(tied).grams(tied.units)["one"]
    assert gram.count == 3 * Workbench.count(tied.fit)
    unit.write(np.ones_like(unit.integers), unit.scale * 2)
    assert unit.twins[0]._buffers["weight_quantized"] is unit.twins[1]._buffers["weight_quantized"]
    assert unit.twins[0]._buffers["weight_scale"] is unit.twins[1]._buffers["weight_scale"]
