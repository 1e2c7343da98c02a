"""``ptq check``, ``ptq coverage`` and ``ptq compare``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from models import absmax, data
from saved_nets import run_command, save_net, without_checks

import ptq


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``net``, a saved program; ``int8``, made of it; ``net.npy``; ``nan``, a program with NaN in a weight."""
    folder = tmp_path_factory.mktemp("made")
    paddle.seed(0)
    save_net(folder / "net")
    x = data(8, 3, 12, 12).numpy()
    np.save(folder / "net.npy", x)
    with pytest.MonkeyPatch.context() as patch:
        without_checks(patch)
        ptq.quantize_model(folder / "net", [x], absmax(), placement="full").save(folder / "int8", verbose=False)
    broken = ptq.load_program(folder / "net")
    with paddle.no_grad():
        next(layer for layer in broken.sublayers() if isinstance(layer, paddle.nn.Conv2D)).weight.set_value(
            paddle.full([8, 3, 3, 3], np.nan)
        )
    paddle.jit.save(broken, str(folder / "nan"), input_spec=broken.input_spec)
    return folder


def test_check_tells_inputs_layers_and_findings(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("check", made / "net", "--layers", "--json", tmp_path / "found.json") == 0
    printed = capsys.readouterr().out
    assert "input pic: float32 [?, 3, ?, ?]" in printed
    assert "Conv2D(3, 8, kernel_size=[3, 3]" in printed
    assert "nothing found" in printed
    assert json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["findings"] == []


def test_check_of_a_model_that_cannot_be_quantized_has_status_1(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("check", made / "nan") == 1
    assert "non-finite-weight" in capsys.readouterr().out


def test_coverage_prints_the_ledger(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = ptq.Ledger.from_json(made / "int8.ptq.coverage.json")
    assert run_command("coverage", made / "int8") == 0
    assert capsys.readouterr().out.splitlines() == ledger.lines()
    assert run_command("coverage", made / "int8.ptq.coverage.json", "--full") == 0
    assert capsys.readouterr().out.splitlines() == ledger.lines(full=True)


def test_compare_tells_outputs_and_layers(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", made / "net", made / "int8", "--data", made / "net.npy", "--json", tmp_path / "apart.json"]
    assert run_command(*arguments, "--min-sqnr", "10") == 0
    printed = capsys.readouterr().out
    stored = json.loads((tmp_path / "apart.json").read_text(encoding="utf-8"))
    assert f"{stored['outputs'][0]['sqnr_db']:.1f} dB" in printed
    assert len(stored["layers"]) == 3
    assert run_command(*arguments, "--min-sqnr", "90") == 1
