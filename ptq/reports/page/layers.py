"""The table of layers, and what each row opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .charts import channels, histogram
from .words import both, decibels, dotted, element, number, percent, shade, text

__all__ = ["MOST_CHARTS", "blocks_of", "details", "table"]

# Charts are made for so many layers, the worst ones; all figures are in the table and in the JSON.
MOST_CHARTS = 400
Layer = Mapping[str, Any]

COLUMNS = (
    ("#", "#", "num"),
    ("layer", "层", ""),
    ("type", "类型", ""),
    ("state", "状态", ""),
    ("alone, dB", "单独 dB", "num"),
    ("in the model, dB", "整网 dB", "num"),
    ("input, dB", "输入 dB", "num"),
    ("weight, dB", "权重 dB", "num"),
    ("clipped", "截断", "num"),
    ("MACs", "乘加", "num"),
)
TIMES = (("kernel", "内核", ""), ("float µs", "浮点 µs", "num"), ("int8 µs", "int8 µs", "num"))
COMPARED = (("other alone, dB", "对比 单独 dB", "num other"), ("change, dB", "变化 dB", "num other"))


def table(layers: Sequence[Layer], other: Mapping[str, Layer] | None) -> str:
    """The whole table; ``other``: the layers of the report that this one is compared with, by name."""
    timed = any(layer["kernels"] for layer in layers)
    columns = [*COLUMNS, *(TIMES if timed else ()), *(COMPARED if other is not None else ())]
    head = "".join(f'<th class="{kind}"><button type="button" class="sort">{both(en, zh)}</button></th>' for en, zh, kind in columns)
    order = sorted(range(len(layers)), key=lambda n: (_sortable(layers[n]["alone_db"]), n))
    rows = "".join(_row(n, layers[n], timed, other) for n in order)
    return f'<div class="scroll"><table id="layers"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _sortable(value: Any) -> float:
    found = number(value)
    return 1e9 if found is None or found != found else min(max(found, -1e8), 1e8)


def _row(n: int, layer: Layer, timed: bool, other: Mapping[str, Layer] | None) -> str:
    tensor, weight, kernels = layer["input"] or {}, layer["weight"] or {}, layer["kernels"]
    name = text(layer["name"])
    cells = [_figure(n, str(n)), f'<td class="name"><button type="button" class="open">{name}</button></td>']
    cells += [f"<td>{text(layer['op'])}</td>", f"<td>{dotted(layer['state'])}</td>"]
    cells += [_db(value) for value in (layer["alone_db"], layer["total_db"], tensor.get("sqnr_db"), weight.get("sqnr_db"))]
    clipped = tensor.get("clipped") if tensor.get("sqnr_db") is not None else None
    cells += [_figure(clipped, percent(clipped)), _figure(layer["macs"], _short(layer["macs"]))]
    if timed:
        kernel = "–" if kernels is None else kernels["int8_kernel"]
        times = [None, None] if kernels is None else [kernels["float_us"], kernels["int8_us"]]
        cells += [f"<td>{text(kernel)}</td>", *(_figure(us, "–" if us is None else f"{number(us):.0f}") for us in times)]
    if other is not None:
        before = other.get(layer["name"], {}).get("alone_db")
        mine, theirs = number(layer["alone_db"]), number(before)
        change = None if mine is None or theirs is None or mine - theirs != mine - theirs else mine - theirs
        kind = "" if change is None or abs(change) < 1 else "good" if change > 0 else "bad"
        cells += [_db(before, "other"), _figure(change, "–" if change is None else f"{change:+.1f}", f"other {kind}")]
    return f'<tr data-n="{n}" data-name="{name}">{"".join(cells)}</tr>'


def _figure(value: Any, shown: str, kind: str = "") -> str:
    """A cell of figures with the number to sort by."""
    key = "" if value is None else f"{_sortable(value):.10g}"
    classes = f"num {kind}".strip()
    return f'<td class="{classes}" data-v="{key}">{text(shown)}</td>'


def _db(value: Any, kind: str = "") -> str:
    return _figure(value, decibels(value), f"{shade(value)} {kind}".strip())


def _short(count: int) -> str:
    for limit, prefix in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= limit:
            return f"{count / limit:.1f}{prefix}"
    return str(count)


def details(layers: Sequence[Layer]) -> str:
    """What rows open, inert until then; charts for the worst `MOST_CHARTS`."""
    worst = sorted(range(len(layers)), key=lambda n: _sortable(layers[n]["alone_db"]))[:MOST_CHARTS]
    return "".join(f'<template id="d{n}">{_detail(layers[n])}</template>' for n in worst)


def _detail(layer: Layer) -> str:
    parts = []
    tensor, weight, kernels = layer["input"], layer["weight"], layer["kernels"]
    if tensor is not None:
        parts.append(element("figure", histogram(tensor) + element("figcaption", _tensor(tensor))))
    if weight is not None:
        parts.append(element("figure", channels(weight) + element("figcaption", _weight(weight))))
    facts = []
    if layer["reason"]:
        facts.append(text(layer["reason"]))
    if kernels is not None:
        before, after = (f"{kernels[f'{kind}_kernel']} {number(kernels[f'{kind}_us']):.0f} µs" for kind in ("float", "int8"))
        facts.append(text(f"{kernels['runtime']}: {before} → {after}"))
    return element("div", "".join(parts) + "".join(element("p", fact) for fact in facts), class_="detail")


def _tensor(tensor: Layer) -> str:
    low, high = number(tensor["low"]), number(tensor["high"])
    values = both(f"input: {low:.4g} to {high:.4g}", f"输入：{low:.4g} 至 {high:.4g}")
    if tensor["sqnr_db"] is None:
        return values
    begin, end, step = (number(tensor[name]) for name in ("grid_low", "grid_high", "step"))
    if begin is None or end is None or step is None:
        grid = both("a grid for each channel", "每个通道各有网格")
    else:
        grid = both(f"grid {begin:.4g} to {end:.4g}, step {step:.3g}", f"网格 {begin:.4g} 至 {end:.4g}，步长 {step:.3g}")
    bits = both(f"{tensor['bits']} bits, {decibels(tensor['sqnr_db'])} dB", f"{tensor['bits']} 位，{decibels(tensor['sqnr_db'])} dB")
    spread = both(f"widest channel {number(tensor['spread']):.1f} × the median", f"最宽通道为中位的 {number(tensor['spread']):.1f} 倍")
    return "; ".join([values, grid, bits, *([spread] if number(tensor["spread"]) else []), text(tensor["rule"])]).removesuffix("; ")


def _weight(weight: Layer) -> str:
    shape = "×".join(map(str, weight["shape"]))
    bits = "" if weight["bits"] is None else f", {weight['bits']} bits"
    rounded = "" if weight["sqnr_db"] is None else f", {decibels(weight['sqnr_db'])} dB"
    return both(f"weight {shape} by output channel{bits}{rounded}", f"权重 {shape}（按输出通道）{bits}{rounded}")


def blocks_of(names: Sequence[str]) -> list[str]:
    """Blocks to filter by: the first and second parts of the layers' paths."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")[:-1]
        for depth in (1, 2):
            if len(parts) >= depth:
                found[".".join(parts[:depth])] = None
    return list(found)
