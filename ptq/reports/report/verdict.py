"""The verdict: what was done, how close the answers are, size, speed, what to do next, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..advice import Advice, Text
from ..advice.advice import db
from ..compare.report import Difference

__all__ = ["verdict"]

SAME, CLOSE, APART = 40.0, 25.0, 15.0


def verdict(
    title: str,
    outputs: Sequence[Difference],
    findings: Sequence[Advice],
    *,
    placement: str,
    samples: int,
    shares: tuple[int, int] | None,
    bytes_: tuple[int, int] | None,
    metric: tuple[str, float, float] | None,
    speed: Any,
    recovery: Sequence[dict[str, Any]] = (),
) -> list[Text]:
    """Sentences, in the order in which they are to be read.

    Args:
        title: of the model.
        outputs, findings: of the report; samples: of its data.
        placement: which tensors have grids, empty where it is not known.
        shares: multiply-accumulates in int8, and all.
        bytes_: of the parameters in float and as they are stored.
        metric: its name, the float model's and the quantized model's.
        speed: as in the JSON, ``None`` where nothing was timed.
        recovery: the steps, as in the JSON.
    """
    sentences = [*_done(title, placement, shares), *_answers(outputs, samples), *_metric(metric), *_size(bytes_), *_speed(speed)]
    return [*sentences, *_recovery(recovery), *_next(findings)]


def _done(title: str, placement: str, shares: tuple[int, int] | None) -> Iterator[Text]:
    placed = Text(f" with placement '{placement}'", f"（placement '{placement}'）") if placement else Text("", "")
    share = Text("", "")
    if shares is not None and shares[1]:
        part = shares[0] / shares[1]
        share = Text(f"; {part:.1%} of its multiply-accumulates are int8", f"；{part:.1%} 的乘加运算为 int8")
    yield Text(f"{title} was quantized{placed.en}{share.en}.", f"{title} 已量化{placed.zh}{share.zh}。")


def _answers(outputs: Sequence[Difference], samples: int) -> Iterator[Text]:
    if not outputs:
        return
    worst = min(outputs, key=lambda output: output.sqnr_db)
    value = worst.sqnr_db
    words = (
        Text("the same for all practical purposes", "实际上一致")
        if value >= SAME
        else Text("close", "接近")
        if value >= CLOSE
        else Text("noticeably different", "有明显差异")
        if value >= APART
        else Text("far apart", "相差很大")
    )
    more = Text("", "")
    if worst.agreement is not None:
        more = Text(f"; {worst.agreement:.1%} of the decisions are the same", f"；{worst.agreement:.1%} 的判定相同")
    yield Text(
        f"On {samples} samples its answers and those of the float model are {words.en}: {db(value)}{more.en}.",
        f"在 {samples} 个样本上，其输出与浮点模型{words.zh}：{db(value)}{more.zh}。",
    )


def _metric(metric: tuple[str, float, float] | None) -> Iterator[Text]:
    if metric is not None:
        name, before, after = metric
        yield Text(f"{name}: {before:.4g} in float, {after:.4g} in int8.", f"{name}：浮点 {before:.4g}，int8 {after:.4g}。")


def _size(bytes_: tuple[int, int] | None) -> Iterator[Text]:
    if bytes_ is not None and bytes_[1]:
        unit, scale = ("MB", 1e6) if bytes_[1] >= 1e5 else ("kB", 1e3)
        before, after = (size / scale for size in bytes_)
        yield Text(
            f"Its parameters take {after:.2f} {unit} in place of {before:.2f} {unit} ({before / after:.1f} times smaller).",
            f"参数占 {after:.2f} {unit}，原为 {before:.2f} {unit}（缩小 {before / after:.1f} 倍）。",
        )


def _speed(speed: Any) -> Iterator[Text]:
    if speed is None:
        yield Text("Its speed was not measured (profile=True does).", "未测量速度（profile=True 可测量）。")
        return
    ratio, where = speed["ratio"], f"{speed['runtime']}, {speed['threads']} thread, batch {speed['batch']}"
    words = Text("faster", "更快") if ratio > 1.02 else Text("slower", "更慢") if ratio < 0.98 else Text("as fast", "速度相同")
    yield Text(
        f"{where}: {speed['int8_ms']:.2f} ms against {speed['float_ms']:.2f} ms in float: {ratio:.2f}×, {words.en}.",
        f"{where}：{speed['int8_ms']:.2f} ms，浮点为 {speed['float_ms']:.2f} ms：{ratio:.2f} 倍，{words.zh}。",
    )


def _recovery(recovery: Sequence[dict[str, Any]]) -> Iterator[Text]:
    if not recovery:
        return
    kept = [step for step in recovery if step["kept"]]
    before = recovery[0]["before"]
    after = kept[-1]["after"] if kept else before
    yield Text(
        f"{len(kept)} of {len(recovery)} recovery steps were kept: {before:.2f} became {after:.2f}.",
        f"{len(recovery)} 个恢复步骤保留了 {len(kept)} 个：{before:.2f} 变为 {after:.2f}。",
    )


def _next(findings: Sequence[Advice]) -> Iterator[Text]:
    if not findings:
        yield Text("No rule found anything to improve.", "没有规则发现需要改进之处。")
        return
    first = findings[0]
    where = Text("", "")
    if first.layers:
        name = first.layers[0]
        more = len(first.layers) - 1
        where = Text(f" ({name}{f' and {more} more' if more else ''})", f"（{name}{f' 等 {more + 1} 个' if more else ''}）")
    yield Text(f"Next: {first.action.en}{where.en}.", f"下一步：{first.action.zh}{where.zh}。")
