"""What the runtimes' own profiles say, in one set of words."""

from __future__ import annotations

import statistics

import pytest

from ptq.runtimes import openvino
from ptq.runtimes.onnxruntime import read_profile
from ptq.runtimes.paddle_inference import read_log
from ptq.runtimes.profile import OpTime, summed


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
    assert openvino.kind(op, implementation) == expected


def test_openvino_counters_are_means_that_include_the_slow_first_inference() -> None:
    times = [0.191, 0.009, *[0.004] * openvino.INFERENCES]
    before, after = statistics.mean(times[: openvino.WARM_UP]), statistics.mean(times)
    assert openvino.since(before, after) == pytest.approx(0.004)


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
    assert read_log([*noise, *[old, new, reorder] * 9]) == [
        OpTime("compute", "convolution", "int8", 1, pytest.approx(25e-6)),
        OpTime("compute", "inner_product", "f32", 1, pytest.approx(10e-6)),
        OpTime("conversion", "reorder", "int8", 1, pytest.approx(5e-6)),
    ]
