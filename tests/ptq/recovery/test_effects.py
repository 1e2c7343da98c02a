"""What layers cost: switches, sensitivity, layers left float, mixed widths."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from models import absmax
from recovery_cases import bench_of, rows, samples, small_net

import ptq
from ptq import PTQConfig
from ptq.recovery.float_layers import choose_float_layers
from ptq.recovery.macs import count_macs
from ptq.recovery.mixed import choose_widths, mixed_precision
from ptq.recovery.sensitivity import measure
from ptq.recovery.switches import Switches
from ptq.recovery.workbench import Workbench
from quantizers.errors import ConfigError


@pytest.fixture(scope="module", params=["compute", "full"])
def bench(request: pytest.FixtureRequest) -> Workbench:
    config = absmax(4)
    return bench_of(config=PTQConfig(config.in_act_quantizer, config.wt_quantizer, placement=request.param))


def test_switched_off_it_is_the_float_model_and_on_the_quantized_one(bench: Workbench) -> None:
    switches = Switches(bench)
    x = bench.fit[0].call()[0][0]
    switches.switch((), ())
    np.testing.assert_allclose(switches.model(x).numpy(), bench.float_model(x).numpy(), rtol=1e-4, atol=1e-5)
    switches.switch(switches.layers, switches.all_inputs())
    np.testing.assert_array_equal(switches.model(x).numpy(), bench.model(x).numpy())


def test_one_weight_alone_is_what_numpy_says() -> None:
    """Of a linear model the noise of one weight is the rounding error times the input."""
    paddle.seed(0)
    net = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(108, 4))
    bench = bench_of(net)
    (row,) = measure(bench, 80, progress=False).layers
    x = np.concatenate([sample.call()[0][0].numpy().reshape(-1, 108) for sample in bench.samples]).astype(np.float64)
    (unit,) = bench.units
    change = x @ (unit.integers * unit.scale - unit.goal)[0].T
    wanted = x @ unit.goal[0].T + bench.biases["1"]
    assert row.weight == pytest.approx(10 * np.log10(np.square(wanted).sum() / np.square(change).sum()), abs=0.01)
    assert row.without > 100
    assert row.macs == 8 * 108 * 4


def test_sensitivity_of_a_float_model(tmp_path: Path) -> None:
    net = small_net()
    data = [sample.call()[0][0] for sample in samples(2)]
    found = ptq.sensitivity(net, data, absmax(4), progress=False)
    assert [row.name for row in found.layers] == ["0", "2", "6"]
    assert all(row.both <= max(row.weight, row.activation) + 1 for row in found.layers)
    assert all(row.without >= found.everything - 1 for row in found.layers)
    assert found.worst()[0].both == min(row.both for row in found.layers)
    found.to_json(tmp_path / "costs.json")
    assert json.loads((tmp_path / "costs.json").read_text())["layers"][0]["name"] == "0"
    assert len(found.lines(1)) == 3


def test_layers_left_float_are_within_the_share_and_help(bench: Workbench) -> None:
    macs = count_macs(bench.float_model, {name: bench.layers[name] for name in ("0", "2", "6")}, bench.fit[:1])
    total, size = sum(macs.values()), Workbench.count(bench.fit[:1])
    assert macs == {"0": size * 36 * 6 * 27, "2": size * 36 * 6 * 9, "6": size * 24 * 5}
    found = choose_float_layers(bench, (macs["2"] + macs["6"] + 1) / total)
    assert set(found.names) <= {"2", "6"}
    assert found.names
    assert found.after > found.before
    assert found.share <= (macs["2"] + macs["6"] + 1) / total
    assert choose_float_layers(bench, 0.0).names == ()
    assert set(choose_float_layers(bench, 1.0).names) == {"0", "2", "6"}


def test_widths_are_the_best_of_all_choices() -> None:
    widths = (2, 4, 8)
    noise = np.abs(rows(5, 3)).cumsum(axis=1)[:, ::-1]
    each = np.array([3.0, 1.0, 2.0, 5.0, 1.0])
    limit = 4.5 * each.sum()
    found = choose_widths(noise, widths, [(each, limit)])
    choices = [c for c in itertools.product(range(3), repeat=5) if sum(each[i] * widths[k] for i, k in enumerate(c)) <= limit]
    best = min(choices, key=lambda c: sum(noise[i, k] for i, k in enumerate(c)))
    assert tuple(found) == best
    with pytest.raises(ConfigError, match="within the budget"):
        choose_widths(noise, widths, [(each, each.sum())])


def test_mixed_precision_of_a_model() -> None:
    bench = bench_of(config=absmax(8))
    found = mixed_precision(bench, (8, 4, 2), max_bytes=0.6, progress=False)
    size = {unit.name: unit.goal.size / 8 for unit in bench.units}
    assert found.bytes == sum(size[name] * bits for name, bits in found.bits.items()) <= 0.6 * 8 * sum(size.values())
    assert set(found.overrides()) == set(size)
    assert mixed_precision(bench, (8, 4), max_bit_macs=1.0, progress=False).bits == dict.fromkeys(size, 8)
    for options, message in (({}, "needs a budget"), ({"max_bytes": 0.1}, "within the budget")):
        with pytest.raises(ConfigError, match=message):
            mixed_precision(bench, progress=False, **options)
    with pytest.raises(ConfigError, match="widths must be"):
        mixed_precision(bench, (16,), max_bytes=1, progress=False)
