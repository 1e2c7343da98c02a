"""What is known of one layer: plain values, as they stand in the JSON of a report."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Kernels", "LayerRecord", "TensorRecord", "WeightRecord"]


@dataclass(frozen=True)
class TensorRecord:
    """One activation tensor, in float, and the grid that it is rounded to.

    Attributes:
        low, high: exact extremes of the data that the report was made with.
        counts: histogram of the values (a sample of each tensor), bins of equal width over ``[low, high]``.
        rms: root of the mean square of the values.
        tail: share of the range ``max(-low, high)`` within which 99.9 % of the magnitudes lie.
        spread: largest magnitude of a channel over the median channel's; 0 where the tensor has no channels.
        sqnr_db: power of the values over that of their rounding to the grid; ``None`` without a grid.
        grid_low, grid_high: smallest and largest number of the grid; ``None`` without one, or where each channel has its own.
        step: distance of its levels; ``bits``: its width; ``signed``: whether zero lies inside of it.
        clipped: share of the values more than half a step outside the grid.
        rule: the class of the quantizer that chose the range, empty where it is not known.
    """

    low: float
    high: float
    counts: tuple[int, ...]
    rms: float
    tail: float
    spread: float = 0.0
    sqnr_db: float | None = None
    grid_low: float | None = None
    grid_high: float | None = None
    step: float | None = None
    bits: int | None = None
    signed: bool = False
    clipped: float = 0.0
    rule: str = ""


@dataclass(frozen=True)
class WeightRecord:
    """One weight.

    Attributes:
        shape: as the layer has it; ``bits``: width of its integers, ``None`` where that is not known.
        sqnr_db: power of the float weight over that of the difference; ``None`` where it stays float.
        low, high: extremes of each output channel.
        channel_db: the SQNR of each output channel; empty where it stays float.
        rule: the class of the quantizer that chose the ranges, empty where it is not known.
    """

    shape: tuple[int, ...]
    bits: int | None
    sqnr_db: float | None
    low: tuple[float, ...]
    high: tuple[float, ...]
    channel_db: tuple[float, ...] = ()
    rule: str = ""


@dataclass(frozen=True)
class Kernels:
    """What a runtime ran for the layer in the float and in the int8 file, with microseconds."""

    runtime: str
    float_kernel: str
    int8_kernel: str
    is_int8: bool
    float_us: float
    int8_us: float


@dataclass(frozen=True)
class LayerRecord:
    """One call of a compute layer: convolution, product, recurrent layer.

    Attributes:
        name: its place, as in ``block.conv``; ``op``: its class; ``block``: path of the layer around it.
        state, reason, macs: from the coverage.
        alone_db: SQNR of its result when it computes in int8 on the float model's own tensors; ``None`` where that is not known.
        total_db: SQNR of its result in the quantized model, with all errors before it.
        input, weight: see the classes; kernels: ``None`` where no runtime was profiled.
    """

    name: str
    op: str
    block: str
    state: str
    reason: str
    macs: int
    alone_db: float | None
    total_db: float | None
    input: TensorRecord | None = None
    weight: WeightRecord | None = None
    kernels: Kernels | None = None

    @property
    def input_db(self) -> float | None:
        """SQNR of the input's rounding to its grid; ``None`` without a grid."""
        return None if self.input is None else self.input.sqnr_db

    @property
    def weight_db(self) -> float | None:
        """SQNR of the weight's rounding; ``None`` where it stays float."""
        return None if self.weight is None else self.weight.sqnr_db
