"""Rules on kernels: int8 that a runtime does not have, or that is slower than float."""

from __future__ import annotations

from collections.abc import Iterator

from .advice import Advice, Evidence, Text, layer_of, leave_float

__all__ = ["no_int8_kernel", "slower_than_float"]


def no_int8_kernel(evidence: Evidence) -> Iterator[Advice]:
    """The file has the layer in int8, the runtime computes it in float."""
    found = [layer for layer in evidence.layers if layer.kernels is not None and layer.state == "int8" and not layer.kernels.is_int8]
    if not found or found[0].kernels is None:
        return
    runtime, kernels = found[0].kernels.runtime, ", ".join(sorted({layer.op for layer in found}))
    yield Advice(
        "no-int8-kernel",
        tuple(layer.name for layer in found),
        5.0 * len(found) / len(evidence.layers),
        Text(
            f"{runtime} computes {len(found)} quantized layers ({kernels}) in float",
            f"{runtime} 以浮点计算了 {len(found)} 个已量化的层（{kernels}）",
        ),
        Text("they lose accuracy and gain no speed", "它们损失精度却没有加速"),
        Text("leave them float, or run the file in a runtime that has the kernels", "让它们保持浮点，或使用支持这些算子的运行时"),
        leave_float(*dict.fromkeys(layer_of(layer.name) for layer in found)),
    )


def slower_than_float(evidence: Evidence) -> Iterator[Advice]:
    """Layers that int8 makes slower, by more than noise."""
    timed = [(layer, layer.kernels) for layer in evidence.layers if layer.kernels is not None]
    total = sum(kernels.float_us for _, kernels in timed)
    found = [(layer, kernels) for layer, kernels in timed if layer.state == "int8" and kernels.int8_us > 1.2 * kernels.float_us]
    lost = sum(kernels.int8_us - kernels.float_us for _, kernels in found)
    if not found or not total or lost < 0.02 * total:
        return
    yield Advice(
        "slower-than-float",
        tuple(layer.name for layer, _ in found),
        10 * lost / total,
        Text(
            f"{len(found)} layers take {lost:.0f} µs more in int8 than in float, {lost / total:.0%} of the float model's compute time",
            f"{len(found)} 个层用 int8 比浮点多耗时 {lost:.0f} µs，占浮点模型计算时间的 {lost / total:.0%}",
        ),
        Text("small layers and such without a good kernel are slower in int8", "小层和没有好内核的层在 int8 下更慢"),
        Text("leave them float", "让它们保持浮点"),
        leave_float(*dict.fromkeys(layer_of(layer.name) for layer, _ in found)),
    )
