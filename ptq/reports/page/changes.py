"""Compare mode: what differs between two reports of one net."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .words import both, decibels, number, text

__all__ = ["changes"]

Content = Mapping[str, Any]
WORTH, SHOWN = 1.0, 12


def changes(content: Content, other: Content) -> str:
    """Both results side by side, then the layers that changed most."""
    head = f"<tr><th></th><th>{text(other['title'])}</th><th>{text(content['title'])}</th></tr>"
    body = "".join(f"<tr><td>{title}</td><td>{text(a)}</td><td>{text(b)}</td></tr>" for title, a, b in _rows(content, other))
    moved = sorted(_moved(content, other), key=lambda item: -abs(item[1]))
    items = "".join(_item(*item) for item in moved[:SHOWN])
    listing = items or f"<li>{both('no layer changed by 1 dB or more', '没有层变化 1 dB 以上')}</li>"
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div><ul>{listing}</ul>'


def _item(name: str, change: float, states: str) -> str:
    kind, why = "good" if change > 0 else "bad", f" ({text(states)})" if states else ""
    return f'<li><code>{text(name)}</code> <span class="{kind}">{change:+.1f} dB</span>{why}</li>'


def _rows(content: Content, other: Content) -> Iterator[tuple[str, str, str]]:
    def row(en: str, zh: str, figure: Callable[[Content], str]) -> tuple[str, str, str]:
        return both(en, zh), figure(other), figure(content)

    yield row("placement", "布局", lambda report: report["placement"] or "–")
    yield row("SQNR of the output", "输出信噪比", lambda report: f"{_output(report)} dB")
    yield row("size, MB", "大小 MB", lambda report: "–" if report["bytes"] is None else f"{report['bytes']['int8'] / 1e6:.2f}")
    yield row("speed against float", "相对浮点速度", lambda report: _of(report, "speed", "ratio", ".2f"))
    if content["metric"] is not None or other["metric"] is not None:
        yield row("metric", "指标", lambda report: _of(report, "metric", "int8", ".4g"))
    yield row("float layers", "浮点层", lambda report: str(sum(layer["state"] == "float" for layer in report["layers"])))


def _of(report: Content, part: str, name: str, form: str) -> str:
    return "–" if report[part] is None else format(number(report[part][name]) or 0.0, form)


def _output(report: Content) -> str:
    found = [number(output["sqnr_db"]) for output in report["outputs"]]
    known = [value for value in found if value is not None]
    return decibels(min(known)) if known else "–"


def _moved(content: Content, other: Content) -> Iterator[tuple[str, float, str]]:
    theirs = {layer["name"]: layer for layer in other["layers"]}
    for layer in content["layers"]:
        before = theirs.get(layer["name"])
        if before is None:
            continue
        a, b = number(before["alone_db"]), number(layer["alone_db"])
        change = 0.0 if a is None or b is None else max(-99.0, min(b, 99.0)) - max(-99.0, min(a, 99.0))
        states = "" if before["state"] == layer["state"] else f"{before['state']} → {layer['state']}"
        if abs(change) >= WORTH or states:
            yield layer["name"], change, states
