"""`ptq.report`: its parts, its files, its schema, what it refuses; the command line."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from report_nets import Sound, batches, quantized
from saved_nets import run_command, save_net, without_checks

import ptq
from ptq.reports.page import page
from ptq.reports.report.schema import SCHEMA, check_content
from quantizers.errors import ArtifactError, CalibrationError, ConfigError, CorruptArtifactError, ModelError, NoCalibrationDataError

HOSTILE = ["</script><script>alert(1)</script>", "\"onmouseover='x'&lt;", "<img src=x onerror=alert(2)>", "${x}`\u2028 ]]>"]


@pytest.fixture(scope="module")
def result() -> ptq.QuantizeResult:
    paddle.seed(0)
    return quantized(Sound())


@pytest.fixture(scope="module")
def report(result: ptq.QuantizeResult) -> ptq.Report:
    def mean_answer(model: nn.Layer) -> float:
        return float(model(batches(1)[0]).mean())

    return ptq.report(result, batches(2, seed=50), path=None, metric=mean_answer, reproduce="python make.py < list")


class Elements(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(html)
    return parser.found


def test_the_report_has_all_its_parts_and_fits_its_schema(report: ptq.Report) -> None:
    content = json.loads(report.to_json())
    assert check_content(content) == content == report.to_dict()
    assert [layer["name"] for layer in content["layers"]] == ["stem", "block.0", "block.2", "head.fc"]
    errors = [layer.alone_db for layer in report.layers]
    assert errors == sorted(errors)
    assert content["data"] == {"samples": 32, "batches": 2, "fingerprint": content["data"]["fingerprint"]}
    assert content["calibrated"]["samples"] == 64
    assert len(content["calibrated"]["fingerprint"]) == 16
    assert content["metric"]["name"] == "mean_answer"
    assert content["bytes"]["float"] > content["bytes"]["int8"] > 0
    assert {node["site"] for node in content["graph"]["nodes"]} >= {"stem", "block.0", "add#0"}
    summary = str(report)
    assert "Sound was quantized with placement 'compute'" in summary
    assert "stem" in summary


def test_a_report_is_made_twice_alike(result: ptq.QuantizeResult) -> None:
    assert len({ptq.report(result, batches(1, seed=50), path=None).to_json() for _ in range(2)}) == 1


def test_files_are_written_and_the_page_needs_nothing_else(result: ptq.QuantizeResult, tmp_path: Path) -> None:
    made = ptq.report(result, batches(1, seed=50), path=tmp_path / "new" / "report.html")
    html = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "new" / "report.json").read_text(encoding="utf-8")) == made.to_dict()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["report.html", "report.json"]
    for tag, attributes in elements(html):
        assert tag not in ("link", "iframe", "img", "object", "embed")
        assert not {"src", "href", "action", "data"} & attributes.keys()
    assert "url(" not in html
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")


def test_both_languages_say_everything(report: ptq.Report) -> None:
    found = [attributes.get("class") for tag, attributes in elements(report.to_html()) if tag == "span"]
    assert found.count("en") == found.count("zh") > 40


def hostile(value: Any, text: str) -> Any:
    """The same content, every text but those that are looked up by it a hostile one."""
    if isinstance(value, dict):
        return {name: item if name in ("format", "state") else hostile(item, text) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item, text) for item in value]
    return text if isinstance(value, str) and value not in ("inf", "-inf", "nan") else value


@pytest.mark.parametrize("text", HOSTILE)
def test_names_with_html_in_them_are_text(report: ptq.Report, text: str) -> None:
    content = hostile(report.to_dict(), text)
    html = page(content, hostile(copy.deepcopy(report.to_dict()), text))
    plain = [tag for tag, _ in elements(page(report.to_dict(), report.to_dict()))]
    allowed = {*plain, "p", "li", "i"}
    for tag, attributes in elements(html):
        assert tag in allowed, tag
        assert not any(name.startswith("on") for name in attributes), attributes
    assert [tag for tag, _ in elements(html)].count("script") == plain.count("script") == 2
    start = html.index('id="graph-data">') + len('id="graph-data">')
    assert json.loads(html[start : html.index("</script>", start)])["nodes"][0][0] == text


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("format",), "another"),
        (("version",), 2),
        (("layers", 0, "alone_db"), "much"),
        (("layers", 0, "input", "counts"), [1.5]),
        (("findings",), {}),
        (("data",), {"samples": 1}),
        (("graph", "edges"), [["a", 1]]),
        (("made", "python"), 3),
    ],
)
def test_other_json_is_refused_with_the_place(report: ptq.Report, place: tuple[Any, ...], value: Any) -> None:
    content = copy.deepcopy(report.to_dict())
    inner = content
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(CorruptArtifactError, match=str(place[0])):
        check_content(content)


def test_the_schema_names_every_field(report: ptq.Report) -> None:
    assert report.to_dict().keys() == SCHEMA.keys()
    with pytest.raises(CorruptArtifactError):
        check_content({**report.to_dict(), "more": 1})


def test_two_reports_side_by_side(report: ptq.Report, tmp_path: Path) -> None:
    report.to_json(tmp_path / "before.json")
    paddle.seed(0)
    after = ptq.report(
        quantized(Sound(), placement="full"), batches(2, seed=50), path=None, compare=tmp_path / "before.json", title="after"
    )
    html = after.to_html()
    assert 'id="compare"' in html
    assert 'id="changes"' in html
    assert "compute</td><td>full" in html
    assert 'id="compare"' not in report.to_html()
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CorruptArtifactError, match="no report"):
        ptq.report(quantized(Sound()), batches(1), path=None, compare=tmp_path / "other.json")


def test_what_cannot_be_reported_is_refused_by_name(result: ptq.QuantizeResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quantize_model"):
        ptq.report(3, batches(1))
    with pytest.raises(ConfigError, match="float_model"):
        ptq.report(tmp_path / "int8", batches(1))
    with pytest.raises(ArtifactError, match="nothing"):
        ptq.report(tmp_path / "nothing", batches(1), float_model=tmp_path / "nothing")
    with pytest.raises(NoCalibrationDataError):
        ptq.report(result, [], path=None)
    with pytest.raises(CalibrationError, match="batch 0"):
        ptq.report(result, ["a"], path=None)
    with pytest.raises(ConfigError, match="max_samples"):
        ptq.report(result, batches(1), path=None, max_samples=0)
    with pytest.raises(ConfigError, match="metric"):
        ptq.report(result, batches(1), path=None, metric=3)
    with pytest.raises(ArtifactError, match="cannot be written"):
        ptq.report(result, batches(1), path=tmp_path / "a\0b.html")


def test_a_copy_needs_the_float_model_and_then_says_the_same(result: ptq.QuantizeResult) -> None:
    copied = copy.deepcopy(result.model)
    with pytest.raises(ModelError, match="float layers"):
        ptq.report(copied, batches(1, seed=50), path=None)
    paddle.seed(0)
    net = Sound()
    net.eval()
    mine = ptq.report(copied, batches(1, seed=50), float_model=net, path=None)
    kept = ptq.report(result, batches(1, seed=50), path=None)
    for a, b in zip(mine.layers, kept.layers, strict=True):
        assert (a.name, a.alone_db, a.total_db) == (b.name, pytest.approx(b.alone_db, abs=0.1), pytest.approx(b.total_db, abs=0.1))


class Recovered(ptq.QuantizeReport):
    """A report with two steps of a recovery, as a recipe leaves them."""

    def to_dict(self) -> dict[str, Any]:
        rungs = [
            {"step": "weights", "before": 20.0, "after": 24.5, "kept": True, "seconds": 3.0},
            {"step": "distill", "before": 24.5, "after": 22.0, "kept": False, "seconds": 9.0},
        ]
        return {**super().to_dict(), "recovery": {"rungs": rungs}, "notes": ["a note"]}


def test_recovery_steps_and_what_each_gained(result: ptq.QuantizeResult) -> None:
    history = Recovered(**vars(result.report))
    report = ptq.report(ptq.QuantizeResult(result.model, history), batches(1, seed=50), path=None)
    check_content(report.to_dict())
    assert "1 of 2 recovery steps were kept: 20.00 became 24.50." in str(report)
    assert 'id="recovery"' in report.to_html()
    assert "a note" in report.to_dict()["notes"]


def test_samples_are_bounded(result: ptq.QuantizeResult) -> None:
    assert ptq.report(result, batches(3), path=None, max_samples=20).to_dict()["data"]["samples"] == 32


def test_the_command_writes_page_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    without_checks(monkeypatch)
    paddle.seed(0)
    save_net(tmp_path / "net")
    x = np.random.default_rng(0).standard_normal((8, 3, 12, 12)).astype("float32")
    np.save(tmp_path / "net.npy", x)
    ptq.quantize_model(tmp_path / "net", [x], placement="full", progress=False).save(tmp_path / "int8", verbose=False)
    options = ["--float", tmp_path / "net", "--data", tmp_path / "net.npy", "--input", "pic=-1,3,12,12"]
    assert run_command("report", tmp_path / "int8", *options, "--out", tmp_path / "page.html") == 0
    content = check_content(json.loads((tmp_path / "page.json").read_text(encoding="utf-8")))
    assert "was quantized" in capsys.readouterr().out
    assert f"ptq report {tmp_path / 'int8'}" in content["reproduce"]
    assert content["coverage"]["totals"]["int8_share"] == 1.0
    assert {layer["state"] for layer in content["layers"]} == {"int8"}
    assert {node["site"] for node in content["graph"]["nodes"]} >= {layer["name"] for layer in content["layers"]}
    again = ["--compare", tmp_path / "page.json", "--out", tmp_path / "again.html"]
    assert run_command("report", tmp_path / "int8", *options, *again) == 0
    assert 'id="changes"' in (tmp_path / "again.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_kernels_and_times_of_each_layer() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")
    paddle.seed(0)
    report = ptq.report(quantized(Sound(), placement="full"), batches(1, seed=50), path=None, profile=True)
    assert report.to_dict()["notes"] == []
    assert report.to_dict()["speed"]["ratio"] > 0
    for layer in report.layers:
        assert layer.kernels is not None, layer.name
        assert layer.kernels.is_int8
        assert layer.kernels.float_us > 0
