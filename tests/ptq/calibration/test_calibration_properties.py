"""Properties of calibrations and their files, for any data."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ptq import Calibration
from ptq.calibration.file import Contents, LayerStatistics, from_bytes, to_bytes
from quantizers import AbsmaxQuantizer, KLQuantizer, MinMaxQuantizer, MovingAverageAbsmaxQuantizer, StatisticsQuantizer

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
BATCH = arrays.arrays(np.float32, arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5), elements=FINITE)
BATCHES = st.lists(BATCH, min_size=1, max_size=4)
ORDERLESS = st.builds(KLQuantizer, bins=st.integers(1, 300)) | st.builds(AbsmaxQuantizer) | st.builds(MinMaxQuantizer)
RULES = ORDERLESS | st.builds(MovingAverageAbsmaxQuantizer, moving_rate=st.floats(0.01, 0.99))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
few = settings(deadline=None, max_examples=60)


def of(name: str, rule: StatisticsQuantizer, batches: list[np.ndarray]) -> Calibration:
    """What a model of one layer would have seen."""
    rule.reset()
    for batch in batches:
        rule.sample_data(None, (batch,))
    layer = LayerStatistics("Linear", input=[statistics.copy() for statistics in rule.statistics])
    for statistics in layer.input:
        statistics.batches = 0
    return Calibration({name: layer})


def content(found: Calibration) -> bytes:
    return to_bytes(Contents(found.layers, found.input_spec))


@few
@given(st.dictionaries(NAMES, st.tuples(RULES, BATCHES), min_size=1, max_size=4))
def test_what_is_read_is_what_was_written(entries: dict[str, tuple[StatisticsQuantizer, list[np.ndarray]]]) -> None:
    layers = {name: of(name, *entry).layers[name] for name, entry in entries.items()}
    data = to_bytes(Contents(layers))
    again = from_bytes(data, "a file")
    assert again.layers == layers
    assert to_bytes(again) == data


@few
@given(ORDERLESS, st.lists(BATCHES, min_size=1, max_size=4), st.randoms())
def test_shards_merge_to_the_same_in_any_order(rule: StatisticsQuantizer, shards: list[list[np.ndarray]], random: st.Random) -> None:
    whole = content(of("fc", rule, [batch for shard in shards for batch in shard]))
    parts = [of("fc", rule, shard) for shard in shards]
    random.shuffle(parts)
    assert content(Calibration.merge(parts)) == whole
    if len(parts) > 2:
        assert content(Calibration.merge([Calibration.merge(parts[:2]), *parts[2:]])) == whole


@few
@given(ORDERLESS, BATCHES)
def test_merging_changes_none_of_its_parts(rule: StatisticsQuantizer, batches: list[np.ndarray]) -> None:
    parts = [of("fc", rule, batches), of("fc", rule, batches[:1])]
    before = [content(part) for part in parts]
    Calibration.merge(parts)
    assert [content(part) for part in parts] == before


@few
@given(ORDERLESS, BATCHES, BATCHES)
def test_a_difference_is_a_distance(rule: StatisticsQuantizer, first: list[np.ndarray], second: list[np.ndarray]) -> None:
    a, b = of("fc", rule, first), of("fc", rule, second)
    (there,), (back,), (none,) = a.diff(b), b.diff(a), a.diff(a)
    assert none.bits == 0
    assert there.bits is not None
    assert 0 <= there.bits <= 1
    assert there.bits == back.bits
    assert (there.before, there.after) == (back.after, back.before)


@few
@given(RULES, BATCHES)
def test_thresholds_of_a_file_are_those_of_the_data(rule: StatisticsQuantizer, batches: list[np.ndarray]) -> None:
    found = from_bytes(content(of("fc", rule, batches)), "a file").layers["fc"].input
    rule.cal_thresholds()
    expected = list(rule.thresholds)
    rule.reset()
    rule.adopt(found)
    rule.cal_thresholds()
    assert rule.thresholds == expected
    largest = max(float(np.abs(batch).max()) for batch in batches)
    assert all(0 <= threshold <= largest for threshold in rule.thresholds)
