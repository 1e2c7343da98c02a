"""What older versions saved (``tests/fixtures/``) is read, and gives what it gave then."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import quietly

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
sys.path.insert(0, str(FIXTURES))

from tiny_net import CONFIGS, batches, inputs, prepared  # noqa: E402

from ptq import Calibration, ImperativePTQ, Ledger, PTQConfig, calibrate, load  # noqa: E402
from ptq.export import create_int8_predictor  # noqa: E402
from quantizers.errors import CalibrationError  # noqa: E402

VERSIONS = sorted(folder for folder in FIXTURES.iterdir() if (folder / "made_by.json").is_file())


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def saved(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def weights(saved: Path) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays(saved / "net.npz").items() if name != "inputs"}


def test_the_files_say_who_wrote_them_and_are_small() -> None:
    assert [folder.name for folder in VERSIONS] == ["v0_1"]
    made = json.loads((VERSIONS[0] / "made_by.json").read_text(encoding="utf-8"))
    assert made["ptq"].startswith("0.1.")
    assert len(made["commit"]) == 40
    assert sum(file.stat().st_size for file in VERSIONS[0].iterdir()) < 150_000


@pytest.mark.parametrize("name", CONFIGS)
def test_configs(saved: Path, name: str, tmp_path: Path) -> None:
    path = saved / f"{name}.config.json"
    PTQConfig.from_json(path).to_json(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(path.read_text())


@pytest.mark.parametrize("name", CONFIGS)
def test_calibrations_give_the_same_integers_and_grids(saved: Path, name: str) -> None:
    expected = arrays(saved / f"{name}.expected.npz")
    model = prepared(weights(saved), PTQConfig.from_json(saved / f"{name}.config.json"))
    Calibration.load(saved / f"{name}.ptqc").apply(model)
    model = quietly(lambda: ImperativePTQ().convert(model))  # for want of samples 'auto' chooses by histograms, and says so
    state = {f"state/{key}": tensor.numpy() for key, tensor in model.state_dict().items()}
    assert state.keys() == expected.keys() - {"answer"}
    for key, array in state.items():
        np.testing.assert_allclose(array, expected[key], rtol=1e-6, err_msg=key)
    with paddle.no_grad():
        is_close(model(paddle.to_tensor(arrays(saved / "net.npz")["inputs"])).numpy(), expected["answer"])


def is_close(answer: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for a few values that fall on the neighbouring step of a grid, as they may on another processor."""
    assert answer.shape == expected.shape
    step = np.ptp(expected) / 127
    difference = np.abs(answer - expected)
    assert difference.max() < 2 * step
    assert np.mean(difference > 0.1 * step) < 0.2


def test_an_interrupted_calibration_goes_on(saved: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(saved / "interrupted.ptqc", tmp_path / "state.ptqc"))
    with pytest.raises(CalibrationError, match="interrupted after 2 batches"):
        Calibration.load(path)
    found = calibrate(prepared(weights(saved), CONFIGS["compute"], fuse=False), batches(), progress=False, resume=path)
    expected = calibrate(prepared(weights(saved), CONFIGS["compute"], fuse=False), batches(), progress=False)
    assert found.layers.keys() == expected.layers.keys()
    assert found.layers["conv"].input == expected.layers["conv"].input  # later layers depend on the processor's sums
    assert found.input_spec == expected.input_spec


def test_the_portable_artifact(saved: Path) -> None:
    expected = arrays(saved / "net.expected.npz")
    is_close(expected["jit"], expected["memory"])
    is_close(load(saved / "net")(paddle.to_tensor(inputs())).numpy(), expected["jit"])


def test_the_coverage_beside_it(saved: Path) -> None:
    ledger = Ledger.from_json(saved / "net.ptq.coverage.json")
    assert ledger.model == "TinyNet"
    assert ledger.int8_share == 1.0


def test_the_onnx_artifact(saved: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(saved / "net.onnx"), providers=["CPUExecutionProvider"])
    is_close(session.run(None, {session.get_inputs()[0].name: inputs()})[0], arrays(saved / "net.expected.npz")["onnx"])


def test_the_inference_artifact(saved: Path) -> None:
    predictor: Any = create_int8_predictor(saved / "net")
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(inputs())
    predictor.run()
    answer = np.array(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
    is_close(answer, arrays(saved / "net.expected.npz")["inference"])


def test_the_files_are_read_and_not_written(saved: Path) -> None:
    """The inputs that are recorded are the ones that the script would make now."""
    np.testing.assert_array_equal(arrays(saved / "net.npz")["inputs"], inputs())
