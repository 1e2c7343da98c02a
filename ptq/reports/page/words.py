"""Text on the page: escaped, and in both languages, of which the style sheet shows one."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Any

__all__ = ["both", "decibels", "dotted", "element", "embedded", "number", "percent", "shade", "table", "text"]

BAD, FAIR = 20.0, 30.0


def text(value: Any) -> str:
    """Anything as text that HTML cannot mistake for its own, in attributes too."""
    return escape(str(value), quote=True)


def both(en: str, zh: str) -> str:
    """A text in both languages."""
    return f'<span class="en">{text(en)}</span><span class="zh" lang="zh">{text(zh)}</span>'


def element(tag: str, inside: str, **attributes: Any) -> str:
    """A tag around HTML; ``class_`` becomes ``class``, ``data_v`` becomes ``data-v``."""
    named = "".join(f' {name.rstrip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items() if value is not None)
    return f"<{tag}{named}>{inside}</{tag}>"


def dotted(state: str) -> str:
    """A state with a dot of its colour."""
    return f'<span class="state"><i class="dot state-{text(state)}"></i>{text(state)}</span>'


def embedded(value: Any, name: str) -> str:
    """JSON that the page's script reads; no text in it can end the element."""
    content = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    for character in "<>&":
        content = content.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{text(name)}">{content}</script>'


def number(value: Any) -> float | None:
    """A number of the report's JSON, in which infinities are texts."""
    return None if value is None else float(value)


def decibels(value: Any) -> str:
    """``31.4``; ``∞`` for no error."""
    found = number(value)
    if found is None or math.isnan(found):
        return "–"
    return f"{found:.1f}" if math.isfinite(found) else ("∞" if found > 0 else "−∞")


def shade(value: Any) -> str:
    """The class that colours a cell by its decibels."""
    found = number(value)
    return "" if found is None else "bad" if found < BAD else "fair" if found < FAIR else "good"


def percent(value: Any) -> str:
    """``31.40 %`` of a share; a dash for none."""
    found = number(value)
    return "–" if found is None else f"{found:.2%}"


def table(titles: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], numeric: Collection[int] = ()) -> str:
    """A table that scrolls in itself: ``titles`` in both languages, cells of HTML; ``numeric``: columns of figures."""
    kinds = [' class="num"' if column in numeric else "" for column in range(len(titles))]
    head = "".join(f"<th{kind}>{both(en, zh)}</th>" for kind, (en, zh) in zip(kinds, titles, strict=True))
    body = "".join(f"<tr>{''.join(f'<td{kind}>{cell}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
