"""Bad models, data, settings, paths and files: each ends in a named error or a warning, and leaves everything as it was."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import hostile_artifacts
import hostile_commands
import hostile_configs
import hostile_data
import hostile_exports
import hostile_files
import hostile_models
import hostile_paths
import hostile_quantize
import hostile_weights
import paddle
import pytest
from hostile_case import Case, Scene
from hostile_distinct import Happened, distinct, refused_by, same_but_for_names
from hostile_pending import PENDING
from hostile_snapshot import differences, snapshot

from ptq import PTQConfig
from quantizers import AbsmaxQuantizer
from quantizers.errors import QuantizationError, QuantizationWarning

TABLES = (
    hostile_models,
    hostile_data,
    hostile_configs,
    hostile_paths,
    hostile_files,
    hostile_artifacts,
    hostile_exports,
    hostile_commands,
    hostile_quantize,
    hostile_weights,
)
CASES: list[Case] = [case for table in TABLES for case in table.CASES]


def _parameter(case: Case) -> Any:
    name = f"{case.group}: {case.name}"
    marks = [pytest.mark.xfail(strict=True, reason="known, see PENDING")] if name in PENDING else []
    return pytest.param(case, id=name, marks=marks)


@pytest.mark.parametrize("case", map(_parameter, CASES))
def test_misuse(case: Case, saved: Path, happened: list[Happened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    for name in ("temporary", "folder"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(folder)
    scene = Scene(folder, saved, monkeypatch)
    try:
        act = case.prepare(scene)
        before = snapshot(tmp_path, scene.models)
        raised, warned = None, []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                act()
            except (QuantizationError, case.expected) as error:
                raised = error
            warned = [str(item.message) for item in caught if issubclass(item.category, QuantizationWarning)]
        after = snapshot(tmp_path, scene.models)
    finally:
        paddle.disable_static()
    messages = warned if issubclass(case.expected, Warning) else [str(raised)]
    outcome = "warning" if raised is None else type(raised).__name__
    message = next((text for text in messages if re.search(case.says, text, re.DOTALL)), None)
    answer = _short(message or str(messages), tmp_path)
    happened.append(Happened(case.group, case.name, f"{outcome}: {answer}", refused_by(raised) or same_but_for_names(answer)))
    if issubclass(case.expected, Warning):
        assert raised is None
    else:
        assert type(raised) is case.expected
    assert message is not None, f"{messages} do not say {case.says!r}"
    assert differences(before, after) == []


def test_the_cases_are_distinct(happened: list[Happened]) -> None:
    """Many are one misuse tried on several files or functions: those count once."""
    if len(happened) < len(CASES):
        pytest.skip("not all cases ran here")
    assert distinct(happened) >= 140


def test_one_misuse_of_several_things_counts_once() -> None:
    errors = []
    for bits in (0, 99):
        with pytest.raises(QuantizationError) as caught:
            AbsmaxQuantizer(bits)
        errors.append(caught.value)
    with pytest.raises(QuantizationError) as caught:
        PTQConfig(placement="everywhere")
    errors.append(caught.value)
    assert distinct([Happened("", "", "", refused_by(error)) for error in errors]) == 2
    assert same_but_for_names("layer 'a.b' has 3 bits") == same_but_for_names("layer 'c' has 12 bits")


def test_every_case_has_a_name_of_its_own() -> None:
    names = Counter((case.group, case.name) for case in CASES)
    assert not [name for name, count in names.items() if count > 1]


def _short(message: str, folder: Path) -> str:
    text = " ".join(message.replace(str(folder) + os.sep, "").split())
    return text if len(text) <= 150 else text[:147] + "..."
