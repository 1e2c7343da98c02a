"""Why int8 is not faster: each cause is found in figures that show it, and in no others."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from ptq.bench import with_openvino
from ptq.bench.profile import OpTime, summed
from ptq.bench.reasons import Inference, has_vnni, reasons
from ptq.bench.with_onnxruntime import read_profile
from ptq.bench.with_paddle import read_verbose

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512_vnni\n", True),
        ("flags : fpu avx_vnni\n", True),
        ("flags : fpu avx2 avx512f\n", False),
        ("Features : fp asimd asimddp\n", None),
    ],
)
def test_vnni_from_the_processor_flags(tmp_path: Path, text: str, expected: bool | None) -> None:
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert has_vnni(tmp_path / "cpuinfo") is expected


def test_vnni_is_unknown_where_the_system_does_not_tell(tmp_path: Path) -> None:
    assert has_vnni(tmp_path / "cpuinfo") is None


def test_onnxruntime_profile_leaves_out_the_first_runs() -> None:
    def event(op: str, run: int, duration: int) -> dict[str, object]:
        return {"cat": "Node", "name": f"{op}_kernel_time", "ts": run * 100 + 5, "dur": duration, "args": {"op_name": op}}

    ops = ("QLinearConv", "Conv", "QuantizeLinear", "QLinearMul", "HardSigmoid")
    events = [event(op, run, 1000 if run < 2 else 10) for op in ops for run in range(11)]
    events += [event("Transpose", run, 1000) for run in range(2)]
    events += [{"cat": "Session", "name": "model_run", "ts": run * 100, "dur": 90, "args": {}} for run in range(11)]
    assert sorted(read_profile(events), key=lambda item: item.op) == [
        OpTime("compute", "Conv", "float", 1, pytest.approx(10e-6)),
        OpTime("other", "HardSigmoid", "float", 1, pytest.approx(10e-6)),
        OpTime("compute", "QLinearConv", "int8", 1, pytest.approx(10e-6)),
        OpTime("other", "QLinearMul", "int8", 1, pytest.approx(10e-6)),
        OpTime("conversion", "QuantizeLinear", "float", 1, pytest.approx(10e-6)),
    ]


def test_profile_takes_the_median_over_the_inferences() -> None:
    inferences = [[("compute", "Conv", "float", seconds), ("compute", "Conv", "float", 1.0)] for seconds in (2.0, 50.0, 3.0)]
    assert summed([item for inference in inferences for item in inference], 3) == [OpTime("compute", "Conv", "float", 2, 4.0)]
    assert summed([], 3) == []


@pytest.mark.parametrize(
    ("op", "implementation", "expected"),
    [
        ("Convolution", "brgconv_avx512_I8", ("compute", "Convolution", "int8")),
        ("GroupConvolution", "brgconv_avx512_dw_f32", ("compute", "GroupConvolution", "f32")),
        ("FullyConnected", "brgemm_avx512_bf16", ("compute", "FullyConnected", "bf16")),
        ("Reorder", "jit_uni_I8", ("conversion", "Reorder", "int8")),
        ("Subgraph", "jit_avx512_U8", ("other", "Subgraph", "int8")),
    ],
)
def test_openvino_names(op: str, implementation: str, expected: tuple[str, str, str]) -> None:
    assert with_openvino.kind(op, implementation) == expected


def test_openvino_counters_are_means_that_include_the_slow_first_inference() -> None:
    times = [0.191, 0.009, *[0.004] * with_openvino.INFERENCES]
    before, after = statistics.mean(times[: with_openvino.WARM_UP]), statistics.mean(times)
    assert with_openvino.since(before, after) == pytest.approx(0.004)


def test_onednn_reports_of_both_versions() -> None:
    tail = "attr-scratchpad:user,alg:convolution_direct,mb1_ic3oc8_ih48oh24,"
    old = (
        "onednn_verbose,primitive,exec,cpu,convolution,brgconv:avx512_core_vnni,forward_inference,"
        f"src_u8::blocked:acdb::f0 wei_s8:ap:blocked:Acdb16a::f0 dst_u8::blocked:acdb::f0,{tail}0.025"
    )
    new = (
        "onednn_verbose,v1,primitive,exec,cpu,inner_product,brgemm:avx512_core,forward_inference,"
        f"src:f32:a:blocked:ab::f0 wei:f32:ap:blocked:AB16b64a::f0 dst:f32:a:blocked:ab::f0,{tail}0.010"
    )
    reorder = "onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:s8::blocked:abcd::f0 dst:f32::blocked:acdb::f0,,,1x3,0.005"
    noise = ["onednn_verbose,v1,info,cpu,isa:Intel AVX-512", "--- Running analysis", ""]
    assert read_verbose([*noise, *[old, new, reorder] * 9]) == [
        OpTime("compute", "convolution", "int8", 1, pytest.approx(25e-6)),
        OpTime("compute", "inner_product", "f32", 1, pytest.approx(10e-6)),
        OpTime("conversion", "reorder", "int8", 1, pytest.approx(5e-6)),
    ]
