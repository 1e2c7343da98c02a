"""The rewrites of the plain program, each on a program of a few operations made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptq.export.inference.cut import cut, describe, grids_of
from ptq.export.inference.grids import GRID, WEIGHT, find_grids
from ptq.export.inference.held_scales import hold_scales
from ptq.export.inference.merged import ROUNDING, open_merged_grids
from ptq.export.inference.program import Op, Program, Tensor
from ptq.export.inference.table import RULES
from ptq.export.inference.tidy import drop_identities, flatten_biases, rename_parameters


class Made(Program):
    """A program written down step by step."""

    def tensor(self, name: str, *shape: int) -> str:
        self.tensors[name] = Tensor(shape or (-1, 4, 8, 8), "float32")
        return name

    def array(self, name: str, array: Any) -> str:
        self.arrays[name] = np.asarray(array)
        return self.tensor(name, *np.shape(array))

    def op(self, kind: str, *inputs: Any, out: str, **attrs: Any) -> str:
        self.ops.append(Op(kind, list(inputs), [self.tensor(out)], attrs))
        return out

    def fake_quantize(self, x: str, out: str, scale: float = 0.5, zero_point: float = 7, top: float = 255, **wrong: str) -> str:
        s, z = self.array(f"{out}.s", np.float32(scale)), self.array(f"{out}.z", np.float32(zero_point))
        low, high = self.array(f"{out}.low", np.float32([0])), self.array(f"{out}.high", np.float32([top]))
        y = self.op("round", self.op("divide", x, wrong.get("divisor", s), out=f"{out}.d"), out=f"{out}.r", decimals=0)
        y = self.op("clip", self.op("add", y, wrong.get("added", z), out=f"{out}.a"), low, high, out=f"{out}.c")
        return self.op("multiply", self.op("subtract", y, z, out=f"{out}.t"), s, out=out)

    def convolution(self, x: str, out: str) -> str:
        integers = self.array(f"{out}.w", np.ones((4, 4, 1, 1), np.int8))
        weight = self.op(WEIGHT, integers, out=f"{out}.weight", scale=np.full(4, 0.5, np.float32), axis=0)
        y = self.op("conv2d", x, weight, out=f"{out}.conv")
        return self.op("add", y, self.array(f"{out}.b", np.ones(4, np.float32)), out=out, axis=1)

    def grid(self, x: str, out: str, scale: float = 0.25, zero_point: int = 130) -> str:
        return self.op(GRID, x, out=out, scale=scale, zero_point=zero_point, bits=8)

    def kinds(self) -> list[str]:
        return [op.kind for op in self.ops]


@pytest.fixture
def made() -> Made:
    program = Made()
    program.inputs = [program.tensor("x")]
    return program


def test_a_fake_quantized_tensor_becomes_one_grid(made: Made) -> None:
    made.outputs = [made.fake_quantize("x", "y")]
    find_grids(made)
    (op,) = made.ops
    assert (op.kind, op.inputs, op.outputs) == (GRID, ["x"], ["y"])
    assert (op.attrs["scale"], op.attrs["zero_point"], op.attrs["bits"]) == (0.5, 7, 8)


@pytest.mark.parametrize("change", [{"top": 254}, {"top": 4095}, {"zero_point": 7.5}, {"divisor": "other"}, {"added": "other"}])
def test_what_only_resembles_a_grid_is_left_alone(made: Made, change: dict[str, Any]) -> None:
    made.array("other", np.float32(3))
    made.outputs = [made.fake_quantize("x", "y", **change)]
    find_grids(made)
    assert made.kinds() == ["divide", "round", "add", "clip", "subtract", "multiply"]


def test_a_tensor_is_put_on_the_same_grid_once(made: Made) -> None:
    made.outputs = [made.fake_quantize(made.fake_quantize(made.fake_quantize("x", "a"), "b"), "c", scale=0.25)]
    find_grids(made)
    assert [op.outputs for op in made.ops] == [["a"], ["c"]]
    assert made.ops[1].inputs == ["a"]


@pytest.mark.parametrize(("shape", "axis"), [((4, 1, 1, 1), 0), ((1, 4, 1, 1), 1), ((), None), ((1, 1, 1, 1), None)])
def test_integers_times_scale_are_a_weight(made: Made, shape: tuple[int, ...], axis: int | None) -> None:
    cast = made.op("cast", made.array("w", np.ones((4, 4, 1, 1), np.int8)), out="float", dtype="float32")
    weight = made.op("multiply", cast, made.array("s", np.full(shape, 0.5, np.float32)), out="weight")
    made.outputs = [made.op("conv2d", "x", weight, out="y")]
    find_grids(made)
    assert made.kinds() == [WEIGHT, "conv2d"]
    assert made.ops[0].attrs["axis"] == axis


def test_the_later_operand_of_an_addition_is_opened(made: Made) -> None:
    first = made.grid(made.convolution("x", "one"), "first")
    second = made.grid(made.convolution("x", "two"), "second")
    made.outputs = [made.grid(made.op("add", second, first, out="sum"), "y")]
    open_merged_grids(made)
    ops = {op.outputs[0]: op for op in made.ops}
    assert ops["first"].kind == GRID
    assert ops["second"].kind == ROUNDING
    np.testing.assert_allclose(ops["two.weight"].attrs["scale"], 2.0)
    np.testing.assert_allclose(made.arrays[str(ops["two"].inputs[1])], 1 / 0.25 + 130 - 128)
    np.testing.assert_allclose(ops["one.weight"].attrs["scale"], 0.5)


def test_a_grid_that_others_read_is_not_opened(made: Made) -> None:
    grid = made.grid(made.convolution("x", "one"), "g")
    made.outputs = [made.op("add", grid, "x", out="sum"), made.op("relu", grid, out="r")]
    open_merged_grids(made)
    assert ROUNDING not in made.kinds()


@pytest.mark.parametrize(("bias", "held"), [(None, True), ([0.0] * 4, True), ([0.0, 1.0, 0.0, 0.0], False)])
def test_scales_are_held_unless_a_bias_holds_them(made: Made, bias: list[float] | None, held: bool) -> None:
    made.outputs = [made.op("relu", made.convolution("x", "y"), out="r")]
    if bias is None:
        made.ops[-1].inputs, made.ops = ["y.conv"], [op for op in made.ops if op.kind != "add"]
    else:
        made.arrays["y.b"] = np.float32(bias)
    before = made.kinds().count("add")
    hold_scales(made)
    assert made.kinds().count("add") - before == held
    assert all(op.attrs.get("axis") == 1 for op in made.ops if op.kind == "add")


def test_a_result_on_one_grid_needs_no_holding(made: Made) -> None:
    made.convolution("x", "y")
    made.ops = [op for op in made.ops if op.kind != "add"]
    made.outputs = [made.grid("y.conv", "g")]
    hold_scales(made)
    assert "add" not in made.kinds()
    made.outputs.append("y.conv")  # now somebody else sees it too
    hold_scales(made)
    assert "add" in made.kinds()


def test_a_program_is_cut_at_its_grids(made: Made) -> None:
    made.outputs = [made.grid(made.op("relu", made.grid("x", "a"), out="r"), "b")]
    facts = describe(made)
    made = cut(made)  # type: ignore[assignment]
    assert made.inputs == ["x", "a.given"]
    assert made.outputs == ["a", "b", "b"]
    assert grids_of(made) == ["a.again", "a", "b"]
    assert next(op for op in made.ops if op.kind == "relu").inputs == ["a.again"]
    assert [grid["read"] for grid in facts["grids"]] == [True, False]
    assert facts["loose"] == []


def test_a_merged_grid_widens_the_tolerance(made: Made) -> None:
    opened = made.grid(made.convolution(made.grid("x", "a"), "one"), "inner", scale=4.0)
    made.outputs = [made.grid(made.op("hardswish", opened, out="h"), "b", scale=1.0)]
    open_merged_grids(made)
    assert [grid["tolerance"] for grid in describe(made)["grids"]] == [0.25, 1.0 + 1.5 * 4.0]


def test_identities_disappear(made: Made) -> None:
    y = made.op("dropout", "x", None, out="d", is_test=True, mode="upscale_in_train")
    made.outputs = [made.op("relu", made.op("assign", y, out="a"), out="y")]
    drop_identities(made)
    assert made.kinds() == ["relu"]
    assert made.ops[0].inputs == ["x"]


def test_a_bias_is_read_as_a_vector(made: Made) -> None:
    shape = made.array("shape", np.array([1, -1, 1, 1]))
    reshaped = made.op("reshape", made.array("b", np.ones(4, np.float32)), shape, out="r")
    made.tensor("r", 1, 4, 1, 1)
    made.outputs = [made.op("add", "x", reshaped, out="y")]
    flatten_biases(made)
    assert (made.ops[-1].inputs, made.ops[-1].attrs) == (["x", "b"], {"axis": 1})


def test_stored_tensors_are_renamed(made: Made) -> None:
    made.outputs = [made.op("add", "x", made.array("old", np.float32([1])), out="y")]
    rename_parameters(made, {"old": "layer.bias", "none": "z"})
    assert made.ops[0].inputs == ["x", "layer.bias"]
    assert "old" not in made.arrays


def test_the_table_is_well_formed() -> None:
    assert RULES["conv2d"].inputs == ("Input", "Filter")
    assert ("trans_x", "transpose_x") in RULES["matmul"].attrs
    assert all(rule.outputs for rule in RULES.values())
