"""The page: verdict first, then advice, layers, the network, and where it all came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from . import words
from .changes import changes
from .charts import errors, shares
from .layers import MOST_CHARTS, blocks_of, details, table
from .words import both, decibels, dotted, element, embedded, number, percent, text

__all__ = ["page"]

Content = Mapping[str, Any]
MOST_OPERATIONS = 400
SHOWN_FINDINGS = 10
SEARCH = ("search layers", "搜索层")


def page(content: Content, other: Content | None = None) -> str:
    """The report's HTML, complete in itself.

    Args:
        content: of the report, as its JSON has it.
        other: of the report to compare with.
    """
    layers = content["layers"]
    theirs = None if other is None else {layer["name"]: layer for layer in other["layers"]}
    body = [
        _header(content["title"], other is not None),
        _section("verdict", "Verdict", "结论", _verdict(content)),
        _section("advice", "What to do", "建议", _advice(content["findings"])),
        *([] if other is None else [_section("changes", "What changed", "变化", changes(content, other), "other")]),
        _section("layer-list", "Layer by layer", "逐层", _layers(layers, theirs)),
        *([_section("network", "The network", "网络", _graph())] if content["graph"] else []),
        *([_section("recovery", "Recovery", "恢复", _recovery(content["recovery"]))] if content["recovery"] else []),
        _section("check", "Before quantizing", "量化前检查", _check(content["check"])),
        *([_section("coverage", "Coverage", "覆盖", _coverage(content["coverage"]))] if content["coverage"] else []),
        _section("origin", "Where this comes from", "来源", _origin(content)),
        details(layers),
        embedded(_network(content), "graph-data"),
        f"<script>{_file('script.js')}</script>",
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{text(content["title"])} int8</title><style>{_file("style.css")}</style>'
    )
    mode = "comparing" if other else ""
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body class="{mode}">{"".join(body)}</body></html>\n'


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _section(name: str, en: str, zh: str, inside: str, kind: str = "") -> str:
    return f'<section id="{name}" class="{kind}"><h2>{both(en, zh)}</h2>{inside}</section>'


def _header(title: str, has_other: bool) -> str:
    compare = f'<button type="button" id="compare">{both("compare", "对比")}</button>' if has_other else ""
    buttons = f'<nav>{compare}<button type="button" id="language">中文</button></nav>'
    return f"<header><h1>{text(title)}</h1>{buttons}</header>"


def _verdict(content: Content) -> str:
    sentences = "".join(element("p", both(item["en"], item["zh"])) for item in content["verdict"])
    rows = [
        (
            text(output["name"]),
            text("×".join(map(str, output["shape"])) or "–"),
            decibels(output["sqnr_db"]),
            f"{number(output['largest_difference']):.3g}",
            percent(output["agreement"]),
        )
        for output in content["outputs"]
    ]
    titles = (
        ("output", "输出"),
        ("shape", "形状"),
        ("SQNR, dB", "信噪比 dB"),
        ("largest difference", "最大差"),
        ("same decision", "判定相同"),
    )
    return sentences + words.table(titles, rows, (2, 3, 4))


def _advice(findings: Sequence[Content]) -> str:
    if not findings:
        return element("p", both("No rule found anything to improve.", "没有规则发现需要改进之处。"))
    cards = [_finding(finding) for finding in findings]
    if len(cards) <= SHOWN_FINDINGS:
        return "".join(cards)
    count = len(cards) - SHOWN_FINDINGS
    rest = f"<details><summary>{both(f'{count} more', f'其余 {count} 条')}</summary>{''.join(cards[SHOWN_FINDINGS:])}</details>"
    return "".join(cards[:SHOWN_FINDINGS]) + rest


def _finding(finding: Content) -> str:
    names = finding["layers"][:6]
    more = len(finding["layers"]) - len(names)
    places = ", ".join(f"<code>{text(name)}</code>" for name in names) + (f" +{more}" if more else "")
    evidence, reason, action = (both(finding[name]["en"], finding[name]["zh"]) for name in ("evidence", "reason", "action"))
    code = f"<pre>{text(finding['code'])}</pre>" if finding["code"] else ""
    title = f"<h3>{text(finding['rule'])} {places}</h3>"
    return f'<article>{title}<p>{evidence}; {reason}.</p><p class="action">{action}</p>{code}</article>'


def _layers(layers: Sequence[Content], other: Mapping[str, Content] | None) -> str:
    if not layers:
        return element("p", both("No compute layer was seen.", "未发现计算层。"))
    blocks = blocks_of([layer["name"] for layer in layers])
    options = "".join(f'<option value="{text(block)}">{text(block)}</option>' for block in blocks)
    search = element(
        "input", "", id="search", type="search", data_en=SEARCH[0], data_zh=SEARCH[1], placeholder=SEARCH[0], aria_label=SEARCH[0]
    )
    every = '<option value="" data-en="all blocks" data-zh="所有块">all blocks</option>'
    controls = (
        f'<div class="controls">{search}<select id="block" aria-label="block">{every}{options}</select><span id="count"></span></div>'
    )
    legend = element(
        "p",
        both(
            "Dots: each layer alone, on the float model's tensors. Line: with all errors before it. Click a name for its charts.",
            "点：各层单独（使用浮点模型的张量）。线：包含此前所有误差。点击层名查看图表。",
        ),
        class_="legend",
    )
    few = ""
    if len(layers) > MOST_CHARTS:
        few = element("p", both(f"Charts are here for the worst {MOST_CHARTS} layers.", f"此处仅为最差的 {MOST_CHARTS} 层提供图表。"))
    return f'<div class="scroll wide">{errors(layers)}</div>{legend}{few}{controls}{table(layers, other)}'


def _graph() -> str:
    kinds = (("error", "误差", "error"), ("coverage", "覆盖", "state"), ("time", "时间", "time"))
    options = "".join(f'<option value="{value}" data-en="{en}" data-zh="{zh}">{en}</option>' for en, zh, value in kinds)
    choose = f'<select id="colour" aria-label="colour">{options}</select>'
    named = (("expand", "expand all", "全部展开"), ("collapse", "collapse all", "全部折叠"))
    buttons = "".join(f'<button type="button" id="{name}">{both(en, zh)}</button>' for name, en, zh in named)
    hint = element(
        "p",
        both("Click a block to open it, double-click an operation in it to close it.", "点击块以展开，双击其中的算子以折叠。"),
        class_="legend",
    )
    return f'<div class="controls">{choose}{buttons}</div>{hint}<div class="scroll tall" id="graph"></div>'


def _network(content: Content) -> Any:
    """What the script draws: sites, operations, states, multiply-accumulates, decibels, microseconds, and edges."""
    graph = content["graph"]
    if graph is None:
        return None
    layers = {layer["name"]: layer for layer in content["layers"]}
    nodes = []
    for node in graph["nodes"]:
        layer = layers.get(node["site"])
        alone = None if layer is None else number(layer["alone_db"])
        time = None if layer is None or layer["kernels"] is None else number(layer["kernels"]["int8_us"])
        nodes.append([node["site"], node["op"], node["state"], node["macs"], None if alone is None else max(-99.0, min(alone, 99.0)), time])
    return {"nodes": nodes, "edges": graph["edges"]}


def _recovery(steps: Sequence[Content]) -> str:
    titles = (("step", "步骤"), ("before", "之前"), ("after", "之后"), ("outcome", "结果"), ("took", "用时"))
    rows = [
        (
            text(step["name"]),
            f"{number(step['before']):.2f}",
            f"{number(step['after']):.2f}",
            both("kept", "保留") if step["kept"] else both("undone", "撤销"),
            f"{number(step['seconds']):.1f} s",
        )
        for step in steps
    ]
    return words.table(titles, rows, (1, 2, 4))


def _check(findings: Sequence[Content]) -> str:
    if not findings:
        return element("p", both("Nothing was found, or the check was not part of this.", "没有发现问题，或未进行检查。"))
    items = []
    for item in findings:
        where = f"<b>{text(item['severity'])}</b> <code>{text(item['layer'] or '–')}</code>"
        items.append(f"<li>{where} {text(item['message'])}: {text(item['advice'])}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _coverage(ledger: Content) -> str:
    rows = ledger["rows"]
    states = Counter[str]()
    for row in rows:
        states[row["state"]] += row["macs"] or 0
    reasons = Counter((row["op"], row["state"], row["reason"]) for row in rows if row["reason"] and row["state"] in ("float", "observed"))
    why = "".join(f"<li>{count} {text(op)} ({text(state)}): {text(reason)}</li>" for (op, state, reason), count in reasons.most_common())
    counts = ", ".join(f"{count} {text(state)}" for state, count in Counter(row["state"] for row in rows).most_common())
    titles = (("place", "位置"), ("type", "类型"), ("state", "状态"), ("reason", "原因"))
    cells = [(text(row["site"]), text(row["op"]), dotted(row["state"]), text(row["reason"])) for row in rows[:MOST_OPERATIONS]]
    listing = f"<details><summary>{both('every operation', '所有算子')}</summary>{words.table(titles, cells)}</details>"
    return f"{shares(states)}<p>{counts}</p><ul>{why}</ul>{listing}"


def _origin(content: Content) -> str:
    made = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in content["made"].items())
    data, calibrated = content["data"], content["calibrated"]
    measured = f"{data['samples']} samples, {data['batches']} batches, {data['fingerprint']}"
    made += f"<dt>{both('data of this report', '本报告的数据')}</dt><dd>{text(measured)}</dd>"
    if calibrated is not None:
        count = f"{calibrated['samples']} samples, " if calibrated["samples"] else ""
        seen = f"{count}{calibrated['batches']} batches, {calibrated['fingerprint'] or '–'}"
        made += f"<dt>{both('calibration', '校准')}</dt><dd>{text(seen)}</dd>"
    how = f"<h3>{both('To reproduce', '复现')}</h3><pre>{text(content['reproduce'])}</pre>" if content["reproduce"] else ""
    notes = "".join(f"<li>{text(note)}</li>" for note in content["notes"])
    return f"<dl>{made}</dl>{how}{f'<ul>{notes}</ul>' if notes else ''}"
