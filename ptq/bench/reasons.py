"""Why int8 is not faster: one plain sentence for each cause, with its figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..runtimes.profile import COMPUTE, CONVERSION, INT8, OTHER, OpTime

__all__ = ["FASTER", "Inference", "reasons"]

# Below this ratio of float to int8 a model does not count as faster.
FASTER = 1.1
# What takes less than this share of the time explains nothing.
NOTABLE = 0.1
SMALL_MODEL = 1e-3
SMALL_OPERATION = 2e-5


@dataclass(frozen=True)
class Inference:
    """Where the time of one inference goes.

    ``measured``: its seconds; ``operations``: as the runtime reports them, perhaps not all, and a little slower for being watched.
    """

    measured: float
    operations: Sequence[OpTime]

    @property
    def seconds(self) -> float:
        """What the parts are parts of."""
        return max(self.measured, _seconds(self.operations))

    def of(self, kind: str, is_int8: bool | None = None) -> list[OpTime]:
        """The operations of a kind; only those in int8, or those that are not, when ``is_int8`` is given."""
        return [item for item in self.operations if item.kind == kind and is_int8 in (None, item.precision == INT8)]

    def spent(self, kind: str) -> float:
        """Seconds in operations of a kind; ``"other"`` is all that is not compute or conversion."""
        if kind == OTHER:
            return self.seconds - self.spent(COMPUTE) - self.spent(CONVERSION)
        return _seconds(self.of(kind))


def reasons(floats: Inference, int8: Inference, vnni: bool | None) -> list[str]:
    """Sentences that explain why int8 takes about as long as float, or longer.

    Returns:
        First where the time goes, then the causes that the figures show.
    """
    causes: list[Callable[[Inference, Inference], str]] = [_baseline, _no_kernel, _no_gain, _islands, _other_operations, _small]
    found = [sentence for sentence in (_no_vnni(vnni), *(cause(floats, int8) for cause in causes)) if sentence]
    return [_breakdown(floats, int8), *(found or ["none of the usual causes stands out in these figures"])]


def _breakdown(floats: Inference, int8: Inference) -> str:
    names = {COMPUTE: "convolutions and matrix products", CONVERSION: "conversions of precision or layout", OTHER: "everything else"}
    parts = ", ".join(f"{name} {_ms(floats.spent(kind))} and {_ms(int8.spent(kind))}" for kind, name in names.items())
    return f"where the time of one inference goes, in float and in int8: {parts}"


def _no_vnni(vnni: bool | None) -> str:
    if vnni is None:
        return "whether this processor has int8 dot products (VNNI) is unknown: without them int8 gains little"
    return "" if vnni else "no VNNI: this processor lacks int8 dot products (such as avx512_vnni), without which int8 gains little"


def _baseline(floats: Inference, _int8: Inference) -> str:
    half = [item for item in floats.of(COMPUTE) if item.precision in ("bf16", "f16")]
    return f"the baseline is not float32: it runs {_count(half)} operations in {half[0].precision}" if half else ""


def _no_kernel(_floats: Inference, int8: Inference) -> str:
    left = int8.of(COMPUTE, is_int8=False)
    if not left:
        return ""
    return f"no int8 kernel: {_count(left)} of {_count(int8.of(COMPUTE))} convolutions and matrix products stay float ({_listed(left)})"


def _no_gain(floats: Inference, int8: Inference) -> str:
    kernels, before = int8.of(COMPUTE, is_int8=True), floats.spent(COMPUTE)
    if not kernels or not before or before >= FASTER * int8.spent(COMPUTE):
        return ""
    return f"the int8 kernels themselves gain nothing: {_listed(kernels)}, against {_ms(before)} in float"


def _islands(floats: Inference, int8: Inference) -> str:
    more = int8.spent(CONVERSION) - floats.spent(CONVERSION)
    if more < NOTABLE * int8.seconds:
        return ""
    conversions = int8.of(CONVERSION)
    return (
        f"QDQ islands: {_count(conversions)} conversions take {_share(conversions, int8)} of the time ({_listed(conversions)}), "
        f"around operations that stay float; float itself spends {_ms(floats.spent(CONVERSION))} on conversions"
    )


def _other_operations(floats: Inference, int8: Inference) -> str:
    left, before = int8.of(OTHER), _seconds(floats.of(OTHER))
    if _seconds(left) - before < NOTABLE * int8.seconds:
        return ""
    return (
        f"operations that have no faster int8 kernel, or that float fuses into its convolutions, take {_share(left, int8)} of the time "
        f"({_listed(left)}), against {_ms(before)} in float"
    )


def _small(floats: Inference, _int8: Inference) -> str:
    compute = floats.of(COMPUTE)
    each = _seconds(compute) / max(1, _count(compute))
    if floats.measured >= SMALL_MODEL and (not compute or each >= SMALL_OPERATION):
        return ""
    detail = f", {each * 1e6:.0f} µs for each of its {_count(compute)} convolutions and matrix products" if compute else ""
    return f"model too small: float takes {_ms(floats.measured)}{detail}; the fixed costs of each operation outweigh what int8 saves"


def _seconds(operations: Iterable[OpTime]) -> float:
    return sum(item.seconds for item in operations)


def _count(operations: Iterable[OpTime]) -> int:
    return sum(item.count for item in operations)


def _share(operations: Sequence[OpTime], whole: Inference) -> str:
    return f"{_seconds(operations) / whole.seconds:.0%}"


def _listed(operations: Sequence[OpTime]) -> str:
    """The costliest types first, at most five."""
    types: dict[str, list[OpTime]] = defaultdict(list)
    for item in operations:
        types[item.op].append(item)
    costliest = sorted(types.items(), key=lambda entry: -_seconds(entry[1]))
    shown = [f"{_count(items)} {op} {_ms(_seconds(items))}" for op, items in costliest[:5]]
    return ", ".join([*shown, *(["…"] if len(costliest) > 5 else [])])


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"
