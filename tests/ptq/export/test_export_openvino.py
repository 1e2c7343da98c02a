"""OpenVINO's own files: written beside the others, answered by OpenVINO as by the model in memory, refused where they are not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import paddle
import pytest
from cpus import WEIGHT_BITS
from fresh import run_python
from models import calibrated, data
from paddle import nn
from target_cases import SHAPE, calibrated_net, converted_for

from ptq import ImperativePTQ, PTQConfig
from ptq.bench.runtimes import RUNTIMES
from ptq.export import formats
from ptq.export.call import call_of
from ptq.export.jit.program import write_jit
from ptq.export.manifest import read_manifest, verify_files
from ptq.export.onnx.apart import check_apart
from ptq.export.openvino.sums import LEVELS
from ptq.export.openvino.write import simulated_beside, source_of, write_openvino
from ptq.export.save import SaveReport, save_artifact
from ptq.layers.gridded import grids_of
from ptq.util.extras import MissingExtraError
from quantizers import PerChannelAbsmaxQuantizer
from quantizers.errors import MismatchError

pytest.importorskip("openvino")
pytest.importorskip("paddle2onnx")
OWN = {".openvino.xml", ".openvino.bin"}
X = data(*SHAPE, seed=1)


@pytest.fixture(scope="module")
def models() -> dict[tuple[str, str], nn.Layer]:
    """Converted nets by name and target."""
    nets = {name: calibrated_net(name, weight_bits=WEIGHT_BITS) for name in ("squeezed", "residual")}
    return {(name, target): converted_for(net, target) for name, net in nets.items() for target in ("any", "openvino")}


@pytest.fixture(scope="module")
def saved(models: dict[tuple[str, str], nn.Layer], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SaveReport]:
    """One net with the grids of OpenVINO, in two formats."""
    prefix = tmp_path_factory.mktemp("saved") / "m"
    return prefix, save_artifact(models["squeezed", "openvino"], str(prefix), None, ("onnx", "openvino"))


def test_both_files_are_there_and_checked(saved: tuple[Path, SaveReport]) -> None:
    prefix, report = saved
    assert {path.name for path in prefix.parent.iterdir()} == {"m.onnx", "m.openvino.xml", "m.openvino.bin", "m.ptq.json"}
    manifest = read_manifest(prefix)
    assert set(manifest["files"]) == {".onnx", *OWN}
    verify_files(prefix, manifest)
    ort, same, own = report.runtimes
    assert [runtime.runtime for runtime in (ort, same, own)] == ["ONNX Runtime", "OpenVINO", "OpenVINO, own file"]
    assert own.int8_share == same.int8_share == 1.0
    assert len(own.kernels) == 5
    assert own.sqnr_db > 35
    assert ort.int8_share < 1, "its int8 convolution needs a grid behind it, which this target leaves out"


@pytest.mark.slow
def test_any_is_int8_in_all(models: dict[tuple[str, str], nn.Layer], tmp_path: Path) -> None:
    report = save_artifact(models["squeezed", "any"], str(tmp_path / "m"), None, ("openvino", "onnx"))
    assert {runtime.runtime: runtime.int8_share for runtime in report.runtimes} == dict.fromkeys(
        ("OpenVINO, own file", "ONNX Runtime", "OpenVINO"), 1.0
    )


def test_it_answers_in_a_process_that_knows_openvino_alone(
    saved: tuple[Path, SaveReport], models: dict[tuple[str, str], nn.Layer], tmp_path: Path
) -> None:
    prefix, _ = saved
    np.save(tmp_path / "x.npy", X.numpy())
    (tmp_path / "script.py").write_text(
        f"""
import json, sys
import numpy as np, openvino
network = openvino.Core().read_model({str(prefix) + ".openvino.xml"!r})
kinds = sorted({{str(op.get_element_type()) for op in network.get_ops() if op.get_type_name() == "Constant"}})
compiled = openvino.Core().compile_model(network, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
np.save("answer.npy", compiled(np.load("x.npy"))[0])
json.dump([kinds, sorted(name for name in sys.modules if name in ("paddle", "ptq", "onnx"))], open("facts.json", "w"))
"""
    )
    process = run_python(["script.py"], cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    kinds, loaded = json.loads((tmp_path / "facts.json").read_text())
    assert not loaded
    assert "<Type: 'float16'>" not in kinds, "nothing is compressed"
    assert {"<Type: 'int8_t'>", "<Type: 'float32'>"} <= set(kinds)
    with paddle.no_grad():
        expected = models["squeezed", "openvino"](X).numpy().astype(np.float64)
    noise = expected - np.load(tmp_path / "answer.npy")
    assert 10 * np.log10(np.square(expected).sum() / np.square(noise).sum()) > 35


@pytest.mark.slow
def test_alone_it_leaves_nothing_else_behind_and_replaces_other_formats(
    models: dict[tuple[str, str], nn.Layer], saved: tuple[Path, SaveReport], tmp_path: Path
) -> None:
    for path in saved[0].parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    result = ImperativePTQ().save_quantized_model(
        models["residual", "openvino"], str(tmp_path / "m"), formats=("openvino",), float_baseline=True, verbose=False
    )
    assert result is models["residual", "openvino"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{begin}m{end}" for begin in ("", "float_") for end in (*OWN, ".ptq.json")} | {"m.ptq.coverage.json"}


def test_bench_runs_it(saved: tuple[Path, SaveReport]) -> None:
    run = RUNTIMES["OpenVINO, own file"].load(str(saved[0]), [X.numpy()], 1)
    ran: Any = run()
    other: Any = RUNTIMES["OpenVINO"].load(str(saved[0]), [X.numpy()], 1)()
    np.testing.assert_array_equal(ran[0], other[0])


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "target", "saturates"),
    [
        ("squeezed", "any", False),
        pytest.param("residual", "any", True, marks=SLOW),
        pytest.param("squeezed", "openvino", True, marks=SLOW),
        pytest.param("residual", "openvino", False, marks=SLOW),
    ],
)
def test_layer_by_layer(models: dict[tuple[str, str], nn.Layer], name: str, target: str, saturates: bool, tmp_path: Path) -> None:
    """Every grid, also one of a convolution whose result an addition and others read, and one that an addition alone reads."""
    model, prefix = models[name, target], str(tmp_path / "m")
    spec, _ = call_of(model, None)
    write_jit(model, prefix, spec)
    write_openvino(prefix, {}, {})
    with paddle.no_grad():
        expected = [model(X).numpy()]
    source = source_of(prefix)
    assert source.name == "m.openvino.onnx"
    options = {"by_layer": True, "saturates": saturates, "own_file": f"{prefix}.openvino.xml"}
    report = check_apart(str(source), _named(source), expected, simulated_beside(prefix), **options)
    assert not report.mismatch
    assert "grids is met within one step" in report.notes[0]
    assert report.runtime == "OpenVINO, own file"


def _named(source: Path) -> dict[str, np.ndarray]:
    return {item.name: X.numpy() for item in onnx.load(str(source)).graph.input}


@pytest.mark.slow
def test_files_of_another_model_are_refused_and_the_older_ones_stay(
    models: dict[tuple[str, str], nn.Layer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = str(tmp_path / "m")
    save_artifact(models["squeezed", "any"], prefix, None, ("openvino",))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def write(target: str, names: Any, metadata: Any) -> None:
        write_openvino(target, names, metadata)
        for suffix in OWN:
            Path(target + suffix).write_bytes(before["m" + suffix])

    monkeypatch.setitem(formats.FORMATS, "openvino", replace(formats.FORMATS["openvino"], write=write))
    with pytest.raises(MismatchError, match=r"OpenVINO"):
        save_artifact(models["residual", "any"], prefix, None, ("openvino",))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_without_openvino_the_extra_is_named(
    models: dict[tuple[str, str], nn.Layer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str, extra: str) -> Any:
        raise MissingExtraError(f"{module} is not installed; run: pip install 'paddle-ptq[{extra}]'")

    monkeypatch.setattr("ptq.export.openvino.write.import_extra", missing)
    with pytest.raises(MissingExtraError, match=r"paddle-ptq\[openvino\]"):
        save_artifact(models["residual", "any"], str(tmp_path / "m"), None, ("openvino",))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("target", "marked"), [("openvino", 1), ("any", 0)])
def test_sums_without_a_grid_are_marked(models: dict[tuple[str, str], nn.Layer], target: str, marked: int, tmp_path: Path) -> None:
    """By the file: one FakeQuantize of more levels than a kernel has, between the convolution and the addition that alone reads it."""
    model, prefix = models["residual", target], str(tmp_path / "m")
    spec, _ = call_of(model, None)
    write_jit(model, prefix, spec)
    write_openvino(prefix, {}, {})
    text = Path(f"{prefix}.openvino.xml").read_text(encoding="utf-8")
    assert text.count(f'levels="{LEVELS}"') == marked
    assert text.count('levels="256"') == len(grids_of(model)) + (1 - marked)  # that of ``any`` before the addition is doubled


def test_a_second_convolution_of_a_sum_has_one_grid(tmp_path: Path) -> None:
    """The ONNX file doubles it, for OpenVINO would leave it out; in the own file the sum is a part of the other convolution."""
    model, prefix = converted_for(calibrated_net("attending"), "openvino"), str(tmp_path / "m")
    spec, _ = call_of(model, None)
    write_jit(model, prefix, spec)
    write_openvino(prefix, {}, {})
    nodes = [node.name for node in onnx.load(str(source_of(prefix))).graph.node]
    text = Path(f"{prefix}.openvino.xml").read_text(encoding="utf-8")
    assert (sum(name.endswith(":quantize:again") for name in nodes), text.count(":quantize:again")) == (1, 0)
    assert text.count(f'levels="{LEVELS}"') == 1


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (6, 5)])
def test_scales_of_outputs_are_not_taken_for_those_of_rows(rows: int, columns: int, tmp_path: Path) -> None:
    """Of a Linear that reads matrices in a batch: as many rows as outputs, or not."""
    paddle.seed(0)
    net = nn.Sequential(nn.Linear(4, columns), nn.ReLU(), nn.Linear(columns, columns))
    net.eval()
    config = PTQConfig(weight_quantizer=PerChannelAbsmaxQuantizer(WEIGHT_BITS), placement="full", target="openvino")
    model = calibrated(net, data(4, rows, 4), config=config)
    report = save_artifact(ImperativePTQ().convert(model), str(tmp_path / "m"), None, ("onnx", "openvino"))
    found = [runtime for runtime in report.runtimes if "OpenVINO" in runtime.runtime]
    assert len(found) == 2
    assert all(runtime.sqnr_db > 35 and all(kernel.is_int8 for kernel in runtime.kernels) for runtime in found)
