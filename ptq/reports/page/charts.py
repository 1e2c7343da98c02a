"""Charts as plain SVG; colours come from the page's style sheet, so that they fit light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .words import number, text

__all__ = ["channels", "errors", "histogram", "shares"]

WIDTH, HEIGHT, LEFT, BOTTOM = 360, 120, 8, 18
MOST_LEVELS, MOST_CHANNELS = 40, 96
TOP_DB = 60.0


def _svg(inside: str, width: int, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(label)}" class="chart">{inside}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


def _label(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(words)}</text>'


def histogram(tensor: Mapping[str, Any]) -> str:
    """Counts of a tensor's values (heights logarithmic), and the grid drawn over them: its range, and its levels where they are few."""
    low, high = number(tensor["low"]) or 0.0, number(tensor["high"]) or 0.0
    grid = [number(tensor[name]) for name in ("grid_low", "grid_high", "step")]
    left, right = min([low, *(v for v in grid[:1] if v is not None)]), max([high, *(v for v in grid[1:2] if v is not None)])
    span = right - left or 1.0

    def place(value: float) -> float:
        return LEFT + (WIDTH - 2 * LEFT) * (value - left) / span

    counts = tensor["counts"]
    most = math.log1p(max(counts, default=0)) or 1.0
    base, parts = HEIGHT - BOTTOM, []
    if grid[0] is not None and grid[1] is not None:
        a, b = place(grid[0]), place(grid[1])
        parts.append(f'<rect class="grid" x="{a:.1f}" y="4" width="{max(b - a, 1):.1f}" height="{base - 4}"/>')
        parts += _levels(grid[0], grid[1], grid[2] or 0.0, place, base)
    width = (high - low) / len(counts) if counts else 0.0
    bars = "".join(
        f"M{place(low + n * width):.1f} {base}V{base - (base - 8) * math.log1p(count) / most:.1f}H{place(low + (n + 1) * width):.1f}V{base}"
        for n, count in enumerate(counts)
        if count
    )
    parts += [f'<path class="bars" d="{bars}"/>', _line(LEFT, base, WIDTH - LEFT, base, "axis")]
    parts += [_label(LEFT, HEIGHT - 4, f"{left:.3g}"), _label(WIDTH - LEFT, HEIGHT - 4, f"{right:.3g}", "end")]
    return _svg("".join(parts), WIDTH, HEIGHT, f"histogram from {left:.3g} to {right:.3g}")


def _levels(low: float, high: float, step: float, place: Any, base: int) -> list[str]:
    count = round((high - low) / step) + 1 if step else 0
    if not 1 < count <= MOST_LEVELS:
        return []
    ticks = "".join(f"M{place(low + n * step):.1f} 4V{base}" for n in range(count))
    return [f'<path class="levels" d="{ticks}"/>']


def channels(weight: Mapping[str, Any]) -> str:
    """The range of each output channel's weights; neighbours are drawn together where there are many."""
    lows, highs = ([number(value) or 0.0 for value in weight[name]] for name in ("low", "high"))
    group = max(1, -(-len(lows) // MOST_CHANNELS))
    pairs = [(min(lows[n : n + group]), max(highs[n : n + group])) for n in range(0, len(lows), group)]
    reach = max((max(-low, high) for low, high in pairs), default=0.0) or 1.0
    middle, slot = (HEIGHT - BOTTOM) / 2 + 2, (WIDTH - 2 * LEFT) / max(len(pairs), 1)
    bars = "".join(
        f"M{LEFT + n * slot:.1f} {middle - middle * 0.95 * high / reach:.1f}h{max(slot * 0.8, 0.6):.1f}"
        f"V{middle - middle * 0.95 * low / reach:.1f}h{-max(slot * 0.8, 0.6):.1f}z"
        for n, (low, high) in enumerate(pairs)
    )
    parts = [f'<path class="bars" d="{bars}"/>', _line(LEFT, middle, WIDTH - LEFT, middle, "axis")]
    parts += [_label(LEFT, HEIGHT - 4, f"±{reach:.3g}"), _label(WIDTH - LEFT, HEIGHT - 4, f"{len(lows)}", "end")]
    return _svg("".join(parts), WIDTH, HEIGHT, f"ranges of {len(lows)} channels")


def errors(layers: Sequence[Mapping[str, Any]]) -> str:
    """Decibels of each layer in order of execution: alone as dots, with all errors before it as a line."""
    width, height, bottom = 960, 220, 200
    if not layers:
        return ""
    slot = (width - 60) / len(layers)

    def y(value: float) -> float:
        return bottom - (bottom - 10) * min(max(value, 0.0), TOP_DB) / TOP_DB

    parts = [_line(40, y(db), width, y(db), "axis") + _label(4, y(db) + 4, f"{db}") for db in range(0, int(TOP_DB) + 1, 10)]
    size = min(4.0, max(1.5, slot / 3))
    totals, dots = [], []
    for n, layer in enumerate(layers):
        x = 45 + (n + 0.5) * slot
        total, alone = number(layer["total_db"]), number(layer["alone_db"])
        if total is not None and not math.isnan(total):
            totals.append(f"{x:.1f} {y(total):.1f}")
        if alone is not None and not math.isnan(alone):
            title = f"<title>{text(layer['name'])}</title>"
            dots.append(f'<circle cx="{x:.1f}" cy="{y(alone):.1f}" r="{size:.1f}">{title}</circle>')
    if totals:
        parts.append(f'<path class="total" d="M{"L".join(totals)}"/>')
    parts.append(f'<g class="alone">{"".join(dots)}</g>')
    return _svg("".join(parts), width, height, "SQNR in dB by layer")


def shares(parts: Mapping[str, float]) -> str:
    """One bar, its parts in the colours of their states."""
    total = sum(parts.values())
    if not total:
        return ""
    start, found = 0.0, []
    for name, value in parts.items():
        width = 100 * value / total
        if width:
            title = f"<title>{text(name)} {value / total:.1%}</title>"
            found.append(f'<rect class="state-{text(name)}" x="{start:.2f}" y="0" width="{width:.2f}" height="6">{title}</rect>')
        start += width
    bar = "".join(found)
    return f'<svg viewBox="0 0 100 6" preserveAspectRatio="none" class="share" role="img" aria-label="shares">{bar}</svg>'
