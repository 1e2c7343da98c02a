"""Why int8 is not faster: each cause is found in figures that show it, and in no others."""

from __future__ import annotations

import pytest

from ptq.bench.reasons import Inference, reasons
from ptq.runtimes.profile import OpTime

FLOAT = Inference(0.010, [OpTime("compute", "Conv", "float", 10, 0.009), OpTime("other", "MaxPool", "float", 1, 0.001)])
FAST = [OpTime("compute", "QLinearConv", "int8", 10, 0.003), OpTime("other", "MaxPool", "float", 1, 0.001)]
NOTHING = "none of the usual causes stands out in these figures"


def why(int8: Inference, floats: Inference = FLOAT, vnni: bool | None = True) -> list[str]:
    """The causes, without the first line."""
    return reasons(floats, int8, vnni)[1:]


def test_first_line_tells_where_the_time_goes() -> None:
    int8 = Inference(0.009, [*FAST, OpTime("conversion", "QuantizeLinear", "float", 4, 0.002)])
    assert reasons(FLOAT, int8, True)[0] == (
        "where the time of one inference goes, in float and in int8: convolutions and matrix products 9.00 ms and 3.00 ms, "
        "conversions of precision or layout 0.00 ms and 2.00 ms, everything else 1.00 ms and 4.00 ms"
    )


def test_no_cause_is_invented() -> None:
    assert why(Inference(0.0095, FAST)) == [NOTHING]


@pytest.mark.parametrize(("vnni", "words"), [(False, "no VNNI: this processor lacks int8 dot products"), (None, "(VNNI) is unknown")])
def test_processor(vnni: bool | None, words: str) -> None:
    (cause,) = why(Inference(0.0095, FAST), vnni=vnni)
    assert words in cause


def test_operations_without_int8_kernel_are_counted_by_type() -> None:
    left = [OpTime("compute", "Conv", "float", 4, 0.004), OpTime("compute", "MatMul", "float", 2, 0.001)]
    assert why(Inference(0.009, [OpTime("compute", "QLinearConv", "int8", 6, 0.001), *left])) == [
        "no int8 kernel: 6 of 12 convolutions and matrix products stay float (4 Conv 4.00 ms, 2 MatMul 1.00 ms)"
    ]


def test_int8_kernels_as_slow_as_float_ones() -> None:
    (cause,) = why(Inference(0.0095, [OpTime("compute", "QLinearConv", "int8", 10, 0.0085)]))
    assert cause == "the int8 kernels themselves gain nothing: 10 QLinearConv 8.50 ms, against 9.00 ms in float"


def test_islands_are_conversions_that_float_does_not_need() -> None:
    conversions = [OpTime("conversion", "QuantizeLinear", "float", 8, 0.002), OpTime("conversion", "DequantizeLinear", "float", 8, 0.003)]
    (cause,) = why(Inference(0.010, [*FAST, *conversions]))
    assert cause.startswith("QDQ islands: 16 conversions take 50% of the time (8 DequantizeLinear 3.00 ms, 8 QuantizeLinear 2.00 ms)")
    as_many = Inference(0.010, [*FLOAT.operations, OpTime("conversion", "ReorderInput", "float", 3, 0.005)])
    assert why(Inference(0.010, [*FAST, *conversions]), as_many) == [NOTHING]


def test_operations_that_float_fuses() -> None:
    (cause,) = why(Inference(0.010, [*FAST, OpTime("other", "HardSigmoid", "float", 9, 0.004)]))
    assert "take 50% of the time (9 HardSigmoid 4.00 ms, 1 MaxPool 1.00 ms), against 1.00 ms in float" in cause


def test_small_model() -> None:
    tiny = Inference(0.0005, [OpTime("compute", "Conv", "float", 10, 0.0004)])
    int8 = Inference(0.0006, [OpTime("compute", "QLinearConv", "int8", 10, 0.0001)])
    (cause,) = why(int8, tiny)
    assert cause.startswith("model too small: float takes 0.50 ms, 40 µs for each of its 10 convolutions and matrix products")


def test_many_small_operations_are_small_too() -> None:
    many = Inference(0.002, [OpTime("compute", "Conv", "float", 150, 0.0015)])
    (cause,) = why(Inference(0.002, [OpTime("compute", "QLinearConv", "int8", 150, 0.0005)]), many)
    assert "10 µs for each of its 150" in cause


def test_baseline_of_half_precision_is_named() -> None:
    half = Inference(0.010, [OpTime("compute", "Convolution", "bf16", 10, 0.009), OpTime("other", "MaxPool", "f32", 1, 0.001)])
    assert why(Inference(0.0095, FAST), half) == ["the baseline is not float32: it runs 10 operations in bf16"]


def test_types_in_several_precisions_are_listed_once_and_five_at_most() -> None:
    many = [OpTime("other", f"Op{i}", "float", 1, 0.001 * (9 - i)) for i in range(7)]
    (cause,) = why(Inference(0.050, [*FAST, *many, OpTime("other", "Op0", "int8", 2, 0.001)]))
    assert "(3 Op0 10.00 ms, 1 Op1 8.00 ms, 1 Op2 7.00 ms, 1 Op3 6.00 ms, 1 Op4 5.00 ms, …)" in cause
