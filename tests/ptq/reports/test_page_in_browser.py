"""The page in a real browser: no message in its console, nothing fetched, and all that can be clicked does what it says."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paddle
import pytest
from chromium import Chromium, find_chromium
from report_nets import Sound, batches, quantized

import ptq
from benchmarks.bench_report import REC, quantized_net
from benchmarks.programs import why_no_ocr
from benchmarks.real_nets import NETS, why_absent
from benchmarks.real_nets import batches as real_batches
from ptq.reports.page import page
from ptq.reports.report.schema import check_content

BROWSER = find_chromium()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian's package chromium, or the variable CHROMIUM)")
SIZES = [(1440, False), (1440, True), (390, False), (390, True)]
MOST_BYTES, MOST_SECONDS = 3 << 20, 2.0


@pytest.fixture(scope="module")
def contents() -> tuple[dict[str, Any], dict[str, Any]]:
    """Two reports of one net."""
    found = []
    for placement in ("full", "compute"):
        paddle.seed(0)
        found.append(ptq.report(quantized(Sound(), placement=placement), batches(1, seed=50), path=None, title=placement).to_dict())
    found[1]["layers"][0]["alone_db"] = 12.0
    return found[0], found[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium(str(BROWSER)) as started:
        yield started


def many(content: dict[str, Any], count: int) -> dict[str, Any]:
    """The same report, of a net with so many layers in blocks of ten, each in front of the next."""
    made = copy.deepcopy(content)
    made["layers"] = [
        {**layer, "name": f"stage.{n // 10}.conv{n % 10}", "alone_db": 20.0 + n % 25}
        for n, layer in enumerate(made["layers"][n % 4] for n in range(count))
    ]
    nodes = [
        {"site": x["name"], "op": "conv2d", "block": f"stage.{n // 10}", "state": "int8", "macs": 9} for n, x in enumerate(made["layers"])
    ]
    made["graph"] = {"nodes": nodes, "edges": [[n, n + 1] for n in range(count - 1)] + [[n, n + 7] for n in range(0, count - 7, 10)]}
    return made


def shown(browser: Chromium) -> list[str]:
    found: list[str] = browser.run(
        "Array.from(document.querySelectorAll('#layers tbody tr[data-n]')).filter(r=>!r.hidden).map(r=>r.dataset.name)"
    )
    return found


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_it_fits_the_width_in_both_schemes(
    browser: Chromium, contents: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path, width: int, dark: bool
) -> None:
    (tmp_path / "page.html").write_text(page(*contents), encoding="utf-8")
    browser.problems.clear()
    browser.open(tmp_path / "page.html", width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    red, green, blue = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    assert (max(red, green, blue) < 60) == dark
    assert browser.run("document.querySelectorAll('section').length") >= 7
    browser.screenshot(tmp_path / "page.png", whole=True)
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert browser.problems == []


def test_all_that_can_be_clicked(browser: Chromium, contents: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(*contents), encoding="utf-8")
    browser.problems.clear()
    browser.open(tmp_path / "page.html")
    worst = [layer["name"] for layer in sorted(contents[0]["layers"], key=lambda layer: layer["alone_db"])]
    assert shown(browser) == worst
    # sorting: by name, then the other way round
    browser.run("document.querySelectorAll('#layers .sort')[1].click()")
    assert shown(browser) == sorted(worst)
    browser.run("document.querySelectorAll('#layers .sort')[1].click()")
    assert shown(browser) == sorted(worst, reverse=True)
    # a row opens its charts and closes them
    browser.run("document.querySelector('#layers .open').click()")
    assert browser.run("document.querySelectorAll('.opened svg').length") == 2
    browser.run("document.querySelector('#layers .open').click()")
    assert browser.run("document.querySelectorAll('.opened').length") == 0
    # search and filter
    browser.run("(e => {e.value='FC'; e.dispatchEvent(new Event('input'))})(document.getElementById('search'))")
    assert shown(browser) == ["head.fc"]
    browser.run("(e => {e.value=''; e.dispatchEvent(new Event('input'))})(document.getElementById('search'))")
    browser.run("(e => {e.value='block'; e.dispatchEvent(new Event('change'))})(document.getElementById('block'))")
    assert sorted(shown(browser)) == ["block.0", "block.2"]
    # language
    visible = "(s => getComputedStyle(s).display !== 'none')"
    assert browser.run(f"{visible}(document.querySelector('h2 .en'))")
    browser.run("document.getElementById('language').click()")
    assert not browser.run(f"{visible}(document.querySelector('h2 .en'))")
    assert browser.run("document.querySelector('h2').innerText") == "结论"
    assert browser.run("document.getElementById('search').placeholder") == "搜索层"
    # compare mode
    assert browser.run(f"{visible}(document.getElementById('changes'))")
    browser.run("document.getElementById('compare').click()")
    assert not browser.run(f"{visible}(document.getElementById('changes'))")
    assert browser.problems == []


def test_the_network_opens_and_closes_and_changes_colour(
    browser: Chromium, contents: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(page(contents[0]), encoding="utf-8")
    browser.problems.clear()
    browser.open(tmp_path / "page.html")
    nodes, boxes = len(contents[0]["graph"]["nodes"]), "document.querySelectorAll('#graph .node').length"
    assert browser.run(boxes) == nodes
    browser.run("document.getElementById('collapse').click()")
    assert browser.run(boxes) < nodes
    closed = browser.run("document.querySelectorAll('#graph .node.block').length")
    assert closed == 2  # block and head
    browser.run("document.querySelector('#graph .node.block').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert browser.run("document.querySelectorAll('#graph .node.block').length") == 1
    assert browser.run("document.querySelectorAll('#graph .edge').length") > 3
    inside = "Array.from(document.querySelectorAll('#graph .node')).find(n => n.textContent.includes('block.0'))"
    browser.run(f"{inside}.dispatchEvent(new MouseEvent('dblclick', {{bubbles: true}}))")
    assert browser.run("document.querySelectorAll('#graph .node.block').length") == 2
    fills = "Array.from(document.querySelectorAll('#graph rect')).map(r => r.getAttribute('fill')).join()"
    before = browser.run(fills)
    browser.run("(e => {e.value='state'; e.dispatchEvent(new Event('change'))})(document.getElementById('colour'))")
    assert browser.run(fills) != before
    assert browser.problems == []


@pytest.mark.parametrize("count", [300, 3000])
def test_many_layers_stay_usable(browser: Chromium, contents: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path, count: int) -> None:
    html = page(many(contents[0], count))
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    browser.problems.clear()
    start = time.perf_counter()
    browser.open(tmp_path / "page.html")
    browser.run("document.querySelectorAll('#layers .sort')[1].click()")
    seconds = time.perf_counter() - start
    assert len(shown(browser)) == count
    browser.run("document.getElementById('expand').click()")
    assert browser.run("document.querySelectorAll('#graph .node').length") == count
    assert browser.problems == []
    if count == 300:
        assert len(html.encode()) <= MOST_BYTES
        assert seconds <= MOST_SECONDS


@pytest.mark.slow
@pytest.mark.skipif(bool(why_absent()), reason=why_absent() or "-")
@pytest.mark.parametrize("name", [*NETS, REC])
def test_reports_of_real_nets(browser: Chromium, tmp_path: Path, name: str) -> None:
    if name == REC and why_no_ocr():
        pytest.skip(why_no_ocr())
    result, dev, batch = quantized_net(name, "full")
    report = ptq.report(result, list(real_batches(dev[:16], min(batch, 16))), path=tmp_path / "page.html")
    check_content(report.to_dict())
    assert (tmp_path / "page.html").stat().st_size <= MOST_BYTES
    for width, dark in SIZES:
        browser.problems.clear()
        start = time.perf_counter()
        browser.open(tmp_path / "page.html", width, dark=dark)
        browser.run("document.querySelector('#layers .open').click()")
        assert time.perf_counter() - start <= MOST_SECONDS
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.problems == []
