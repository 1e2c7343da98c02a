"""Training, resuming, validating and exporting, as the command line does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest
from saved_nets import run_command, without_checks
from trainer_cases import config

import ptq
from ptq.trainer import TrainOptions, evaluate, float_model, prepared_model, read_setup, train
from ptq.trainer.checkpoints import load_model
from ptq.util.extras import MissingExtraError
from quantizers.errors import ArtifactError, ConfigError, NonFiniteError

ROOT = Path(__file__).resolve().parents[3]


def tensors(file: Path) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in paddle.load(str(file)).items()}


def same(a: Path, b: Path) -> bool:
    one, other = tensors(a), tensors(b)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trained(streets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``float`` and ``qat``, the states of both trainings."""
    folder = tmp_path_factory.mktemp("trained")
    common = ["--config", streets / "small.yml", "--do_eval"]
    assert run_command("train", *common, "--iters", 40, "--save_dir", folder / "float", "--save_interval", 20) == 0
    best = folder / "float" / "best_model" / "model.pdparams"
    rest = ["--model_path", best, "--iters", 8, "--learning_rate", 0.005, "--save_dir", folder / "qat", "--save_interval_iters", 4]
    assert run_command("qat", "train", *common, *rest) == 0
    return folder


def test_states_lie_where_paddleseg_has_them(trained: Path) -> None:
    assert sorted(path.name for path in (trained / "float").iterdir()) == ["best_model", "iter_20", "iter_40"]
    assert sorted(path.name for path in (trained / "float" / "iter_40").iterdir()) == ["model.pdopt", "model.pdparams", "progress.json"]
    assert (trained / "qat" / "best_model" / "model.pdparams").is_file()


def test_val_prints_scores(streets: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", streets / "small.yml", "--model_path", trained / "qat" / "best_model" / "model.pdparams"]
    assert run_command("qat", "val", *arguments) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("mIoU: 0.")
    assert float(first.split()[1]) > 0.5
    assert second.startswith("class IoU: [")


def test_int8_is_as_good_as_float(streets: Path, trained: Path) -> None:
    setup = read_setup(streets / "small.yml")
    net = float_model(setup, str(trained / "float" / "best_model" / "model.pdparams"))
    plain = evaluate(net, setup.val_dataset, 3, 2)
    model = prepared_model(setup, net, trained=str(trained / "qat" / "best_model"))
    quantized = evaluate(ptq.qat.convert(model), setup.val_dataset, 3, 2)
    assert quantized.miou > plain.miou - 0.02
    assert evaluate(net, setup.val_dataset, 3, 1) == plain


@pytest.mark.parametrize(
    ("answer", "shape", "dtype"),
    [((), (2, 36, 48), "int32"), (("--without_argmax",), (2, 3, 36, 48), "float32"), (("--with_softmax",), (2, 3, 36, 48), "float32")],
)
def test_export_answers_in_the_form_that_was_asked_for(
    streets: Path, trained: Path, tmp_path: Path, answer: tuple[str, ...], shape: tuple[int, ...], dtype: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        without_checks(patch)
        state = trained / "qat" / "best_model" / "model.pdparams"
        assert run_command("qat", "export", "--config", streets / "small.yml", "--model_path", state, "--save_dir", tmp_path, *answer) == 0
    setup = read_setup(streets / "small.yml")
    x = paddle.to_tensor(np.stack([setup.val_dataset[index][0] for index in range(2)]))
    found = ptq.load(str(tmp_path / "model"))(x)
    assert (tuple(found.shape), str(found.dtype)) == (shape, f"paddle.{dtype}")
    model = ptq.qat.convert(prepared_model(setup, setup.model(), trained=str(trained / "qat" / "best_model")))
    with paddle.no_grad():
        logits = model(x)
    expected = logits if "--without_argmax" in answer else paddle.nn.functional.softmax(logits, 1) if answer else logits.argmax(1)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", ["float", "qat"])
def test_a_training_that_is_resumed_ends_in_the_same_state_bit_for_bit(streets: Path, trained: Path, tmp_path: Path, kind: str) -> None:
    file = config(streets, tmp_path / "c.yml", qat={"activations": "lsq+", "distill": {"temperature": 2.0}})
    setup = read_setup(file).with_options(6, None, 0.01, None)
    net = float_model(setup, str(trained / "float" / "best_model"))

    def run(folder: str, resume: str | None, iters: int) -> None:
        model = float_model(setup) if kind == "float" else prepared_model(setup, net, trained=resume)
        options = TrainOptions(
            str(tmp_path / folder), 3, freeze=0.6, resume=resume, distill=None if kind == "float" else {"temperature": 2.0}
        )
        part = setup.with_options(iters, None, None, None) if iters != 6 else setup
        train(part, model, options, teacher=net, say=lambda _: None)

    run("whole", None, 6)
    run("again", str(tmp_path / "whole" / "iter_3"), 6)
    assert same(tmp_path / "whole" / "iter_6" / "model.pdparams", tmp_path / "again" / "iter_6" / "model.pdparams")


def test_old_states_are_dropped_and_logs_written(streets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []
    writer = SimpleNamespace(add_scalar=lambda name, value, step: written.append((name, value, step)))
    monkeypatch.setitem(sys.modules, "visualdl", SimpleNamespace(LogWriter=lambda _: writer))
    setup = read_setup(streets / "small.yml").with_options(4, 2, 0.01, None)
    lines: list[str] = []
    options = TrainOptions(str(tmp_path), 1, log_iters=2, do_eval=True, use_vdl=True, keep=2)
    progress = train(setup, setup.model(), options, say=lines.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best_model", "iter_3", "iter_4"]
    assert progress.best == max(progress.curve, key=lambda entry: entry[1])[::-1]
    assert {name for name, _, _ in written} == {"Train/loss", "Train/lr", "Evaluate/mIoU", "Evaluate/accuracy"}
    assert sum(line.startswith("[TRAIN] iter: ") for line in lines) == 2


def test_what_goes_wrong_is_named(streets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = read_setup(streets / "small.yml")
    with pytest.raises(NonFiniteError, match=r"iteration .: the loss is (nan|inf); train with a smaller learning rate"):
        train(setup.with_options(8, 2, 1e30, None), setup.model(), TrainOptions(str(tmp_path)), say=lambda _: None)
    with pytest.raises(ConfigError, match="iters and batch_size must be at least 1"):
        train(setup.with_options(0, None, None, None), setup.model(), TrainOptions(str(tmp_path)))
    with pytest.raises(ConfigError, match="distill needs a teacher"):
        train(setup, setup.model(), TrainOptions(str(tmp_path), distill={}))
    with pytest.raises(ArtifactError, match="there is no file"):
        float_model(setup, str(tmp_path / "none.pdparams"))
    (tmp_path / "broken.pdparams").write_bytes(b"\x80nothing")
    with pytest.raises(ArtifactError, match="cannot be read"):
        float_model(setup, str(tmp_path / "broken.pdparams"))
    paddle.save(paddle.nn.Linear(2, 2).state_dict(), str(tmp_path / "other.pdparams"))
    with pytest.raises(ArtifactError, match="it is another model's"):
        load_model(setup.model(), tmp_path / "other.pdparams")
    monkeypatch.setitem(sys.modules, "visualdl", None)
    with pytest.raises(MissingExtraError, match=r"paddle-ptq\[train\]"):
        train(setup, setup.model(), TrainOptions(str(tmp_path), use_vdl=True))


def test_classification_nets_are_trained_too(streets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_digits.py").write_text(
        "import numpy as np\n\ndef digits(count):\n    random = np.random.default_rng(0)\n"
        "    return [(random.random((1, 28, 28)).astype('float32'), np.int64(n % 10)) for n in range(count)]\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    data = {"_inherited_": False, "type": "own_digits:digits", "count": 8}
    changes = {"train_dataset": data, "val_dataset": data, "model": {"_inherited_": False, "type": "LeNet", "num_classes": 10}}
    setup = read_setup(config(streets, tmp_path / "c.yml", **changes)).with_options(2, 4, 0.01, None)
    model = prepared_model(setup, setup.model())
    progress = train(setup, model, TrainOptions(str(tmp_path / "out"), do_eval=True), say=lambda _: None)
    assert progress.best is not None


def _run(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, **options)


@pytest.mark.slow
def test_a_killed_training_goes_on(streets: Path, trained: Path, tmp_path: Path) -> None:
    best = trained / "float" / "best_model" / "model.pdparams"
    common = ["-m", "ptq", "qat", "train", "--config", streets / "small.yml", "--model_path", best, "--iters", 40, "--save_interval", 2]
    killed = _run(*common, "--save_dir", tmp_path / "killed")
    for _ in range(1200):
        if list((tmp_path / "killed").glob("iter_*")) or killed.poll() is not None:
            break
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    state = max((tmp_path / "killed").glob("iter_*"), key=lambda path: int(path.name[5:]))
    assert int(state.name[5:]) < 40
    for folder, resume in (("killed", ["--resume_model", state]), ("whole", [])):
        process = _run(*common, "--save_dir", tmp_path / folder, *resume)
        assert process.wait(300) == 0, process.stdout and process.stdout.read()
    assert same(tmp_path / "killed" / "iter_40" / "model.pdparams", tmp_path / "whole" / "iter_40" / "model.pdparams")


@pytest.mark.slow
def test_two_processes_keep_the_same_ranges(streets: Path, trained: Path, tmp_path: Path) -> None:
    best = trained / "float" / "best_model" / "model.pdparams"
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", 2, "--log_dir", tmp_path / "log"]
    file = config(streets, tmp_path / "c.yml", qat={"activations": "moving_average_abs_max", "weights": "lsq"})
    script = Path(__file__).with_name("rank_process.py")
    process = _run(*launch, script, file, best, tmp_path, start_new_session=True)
    output, _ = process.communicate(timeout=300)
    logs = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "log").glob("workerlog.*"))
    assert process.returncode == 0, output + logs
    first, second = (np.load(tmp_path / f"rank{rank}.npz") for rank in range(2))
    assert first.files == second.files
    assert any(name.endswith("input_grid.scale") for name in first.files)
    for name in first.files:
        if "norm." not in name:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.slow
def test_from_pictures_to_an_onnx_file_in_its_runtime(streets: Path, trained: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    state = trained / "qat" / "best_model" / "model.pdparams"
    arguments = [
        "--config",
        streets / "small.yml",
        "--model_path",
        state,
        "--save_dir",
        tmp_path,
        "--formats",
        "jit,onnx",
        "--float-baseline",
    ]
    assert run_command("qat", "export", *arguments) == 0
    setup = read_setup(streets / "small.yml")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    x = np.stack([setup.val_dataset[index][0] for index in range(4)])
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    expected = ptq.load(str(tmp_path / "model"))(paddle.to_tensor(x)).numpy()
    assert (found == expected).mean() > 0.995
    assert (tmp_path / "float_model.onnx").is_file()
