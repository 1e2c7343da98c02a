"""What oneDNN prints, and which layer each of its kernels computes."""

from __future__ import annotations

import pytest

from ptq.export.inference.layers import Layer
from ptq.export.inference.onednn_verbose import Primitive, compute_primitives, match

HEAD = "onednn_verbose,primitive,exec,cpu,"
CONV = (
    HEAD + "convolution,brg_conv_fwd:avx512_core_vnni,forward_inference,src_u8::blocked:acdb::f0 wei_s8:a:blocked:AcdB32a4b::f0 "
    "bia_f32::blocked:a::f0 dst_u8::blocked:acdb::f0,attr-scratchpad:user attr-scales:dst:0:f32+wei:1:f32,alg:convolution_direct,"
    "mb2_ic3oc32_ih16oh16kh3sh1dh0ph1_iw16ow16kw5sw1dw0pw1,0.05"
)
DEPTHWISE = CONV.replace("mb2_ic3oc32", "g32mb2_ic32oc32").replace("src_u8", "src_f32").replace("wei_s8", "wei_f32")
FC = (
    HEAD
    + "inner_product,brgemm:avx512_core_vnni,forward_inference,src_u8::blocked:ab::f0 wei_s8:a:blocked:AB16b64a4b::f0 bia_undef::undef::: "
    "dst_f32::blocked:ab::f0,attr-scratchpad:user attr-scales:wei:1:f32,,mb2ic64oc10,0.01"
)
PRODUCT = (
    HEAD + "matmul,brg_matmul:avx512_core_vnni,undef,src_s8::blocked:abcd::f0 wei_s8:a:blocked:abdc::f0 dst_f32::blocked:abcd::f0,"
    "attr-scratchpad:user,,2x4x6x8:2x4x8x6,0.01"
)
OTHERS = [
    HEAD + "reorder,jit:uni,undef,src_u8::blocked:abcd::f0 dst_u8::blocked:acdb::f0,,,2x32x16x16,0.006",
    "onednn_verbose,info,cpu",
    "x",
]


def test_lines_are_understood() -> None:
    found = list(compute_primitives([*OTHERS, CONV, DEPTHWISE, FC, PRODUCT]))
    assert [primitive.kind for primitive in found] == ["convolution", "convolution", "inner_product", "matmul"]
    assert [primitive.is_int8 for primitive in found] == [True, False, True, True]
    assert [primitive.sizes() for primitive in found] == [(1, 3, 32, 3, 5), (32, 32, 32, 3, 5), (64, 10), (8, 6)]
    assert found[0].kernel == "brg_conv_fwd:avx512_core_vnni"


def test_a_version_field_changes_nothing() -> None:
    line = CONV.replace("onednn_verbose,", "onednn_verbose,v1,")
    assert list(compute_primitives([line])) == list(compute_primitives([CONV]))


def test_layers_get_their_kernels_by_size_and_order() -> None:
    primitives = [
        Primitive("convolution", "second", "f32", "f32", "mb1_ic8oc8_ih1oh1kh1_iw1ow1kw1"),
        Primitive("convolution", "first", "u8", "s8", "mb1_ic3oc8_ih1oh1kh3_iw1ow1kw3"),
        Primitive("convolution", "third", "u8", "s8", "mb1_ic8oc8_ih1oh1kh1_iw1ow1kw1"),
        Primitive("matmul", "attention", "u8", "s8", "1x2x3:1x3x2"),
    ]
    layers = [
        Layer("a", "conv2d", (1, 3, 8, 3, 3), ""),
        Layer("b", "conv2d", (1, 8, 8, 1, 1), "its weight is float"),
        Layer("c", "conv2d", (1, 8, 8, 1, 1), ""),
        Layer("d", "matmul_v2", (), ""),
        Layer("e", "matmul_v2", (5, 6), ""),
    ]
    kernels = match(layers, primitives)
    assert [kernel.is_int8 for kernel in kernels] == [True, False, True, True, False]
    assert [kernel.kernel.split()[-1] for kernel in kernels[:4]] == ["first", "second", "third", "attention"]
    assert kernels[1].reason == "its weight is float"
    assert kernels[2].reason == ""
    assert "without oneDNN" in kernels[4].reason


@pytest.mark.parametrize(("source", "weight"), [("f32", "s8"), ("u8", "f32"), ("bf16", "bf16")])
def test_half_integer_is_not_int8(source: str, weight: str) -> None:
    assert not Primitive("convolution", "", source, weight, "").is_int8
