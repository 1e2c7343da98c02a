"""One walk through nests of arguments: structure and order kept, differing structures told."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from types import MappingProxyType
from typing import Any, NamedTuple

import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptq.util.nests import leaves, map_nest, map_tensors, tensors_in


class Pair(NamedTuple):
    """Two items with names."""

    left: Any
    right: Any


class Tagged(list[Any]):
    """A user's list."""

    tag = ""


LEAVES = st.none() | st.integers() | st.text(max_size=3)
NESTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.builds(Pair, inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(NESTS)
def test_what_changes_nothing_gives_an_equal_nest_of_the_same_types(nest: Any) -> None:
    same = map_nest(lambda leaf: leaf, nest)
    assert same == nest
    assert repr(same) == repr(nest)  # types, and the order of keys


@given(NESTS)
def test_leaves_come_in_paddles_order(nest: Any) -> None:
    assert list(leaves([nest])) == paddle.utils.flatten([nest])


@given(NESTS)
def test_nests_are_walked_side_by_side(nest: Any) -> None:
    doubled = map_nest(lambda leaf: (leaf, leaf), nest)
    assert map_nest(lambda leaf, pair: pair == (leaf, leaf) and leaf, nest, doubled) == nest


def test_keys_that_do_not_sort_are_walked_in_a_fixed_order() -> None:
    first, second = {"b": 1, 2: 2, "a": 3, (1,): 4}, {(1,): 4, "a": 3, 2: 2, "b": 1}
    assert list(leaves(first)) == list(leaves(second)) == [2, 3, 1, 4]
    assert list(map_nest(str, first)) == list(first)


@pytest.mark.parametrize(
    "mapping", [OrderedDict(a=1), UserDict(a=1), MappingProxyType({"a": 1})], ids=lambda mapping: type(mapping).__name__
)
def test_every_mapping_becomes_a_dict(mapping: Any) -> None:
    assert map_nest(lambda leaf: leaf + 1, (mapping,)) == ({"a": 2},)


def test_a_users_list_stays_one() -> None:
    tagged = Tagged([1, 2])
    tagged.tag = "mine"
    found = map_nest(lambda leaf: leaf + 1, tagged)
    assert (type(found), found, found.tag, tagged) == (Tagged, [2, 3], "mine", [1, 2])


@pytest.mark.parametrize("other", [[1], [1, 2, 3], (1, 2), {"a": 1}, 1])
def test_structures_that_differ_are_told(other: Any) -> None:
    with pytest.raises(ValueError, match="different structure: list of 2 and"):
        map_nest(lambda a, b: (a, b), [1, 2], other)
    assert map_nest(lambda a, b: a + b, [[1, 2], 3], [other, 4], apart=lambda a, b: (a, b)) == [([1, 2], other), 7]


def test_tensors_are_found_and_replaced_wherever_they_are() -> None:
    tensors = [paddle.full([], float(number)) for number in range(4)]
    nest = ([tensors[0], "text"], {"b": Pair(tensors[2], None), "a": tensors[1]}, tensors[3])
    assert [id(tensor) for tensor in tensors_in(nest)] == [id(tensor) for tensor in tensors]
    assert map_tensors(float, nest) == ([0.0, "text"], {"b": Pair(2.0, None), "a": 1.0}, 3.0)
