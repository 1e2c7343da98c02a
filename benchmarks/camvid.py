"""CamVid by the command line: the float net trained, trained on grids, exported, and judged by the exported file in ONNX Runtime.

Every stage leaves its states in a folder; a run that is interrupted goes on from the last of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ptq.bench import bench
from ptq.runtimes.onnxruntime import open_session
from ptq.trainer import read_setup
from ptq.trainer.metrics import Confusion

from .real_nets import data_folder

__all__ = ["CONFIG", "run"]

CONFIG = Path(__file__).with_name("camvid.yml")
RATE = 0.005  # of training on grids, and of the float control


def run(folder: Path, iters: int, extra: int) -> list[dict[str, Any]]:
    """All stages; the rows say mIoU of each net and how fast it is.

    Args:
        folder: of states and files.
        iters: of the float net.
        extra: of the training on grids, and of a float control.
    """
    config = _config(folder)
    interval = max(1, iters // 4)
    base = _train(folder / "float", ["train"], config, iters, interval)
    after = ["--model_path", base, "--learning_rate", RATE]
    trained = _train(folder / "qat", ["qat", "train", *after], config, extra, max(1, extra // 2))
    _train(folder / "control", ["train", *after], config, extra, max(1, extra // 2))
    rows: list[dict[str, Any]] = [
        {"net": name, "best_miou": best[0], "curve": curve}
        for name in ("float", "control", "qat")
        for best, curve in [_progress(folder / name)]
    ]
    for name, options in (("classes", []), ("logits", ["--without_argmax"])):
        target = folder / f"int8_{name}"
        if not (target / "model.ptq.json").is_file():
            formats = ["--formats", "jit,onnx", "--float-baseline"]
            _command("qat", "export", "--config", config, "--model_path", trained, "--save_dir", target, *options, *formats)
        rows += [{"net": f"int8, {name}", **row} for row in _speeds(target / "model")]
    for name in ("model", "float_model"):
        rows.append({"net": f"{name}.onnx in ONNX Runtime", **_miou(config, folder / "int8_classes" / f"{name}.onnx")})
    return rows


def _config(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "camvid.yml"
    root = f"{{dataset_root: {json.dumps(str(data_folder() / 'camvid'))}}}"
    file.write_text(f"_base_: {json.dumps(str(CONFIG))}\ntrain_dataset: {root}\nval_dataset: {root}\n", encoding="utf-8")
    return file


def _train(target: Path, command: list[Any], config: Path, iters: int, interval: int) -> Path:
    """Trains, or goes on, or does nothing where it is done; returns the best state."""
    best = target / "best_model" / "model.pdparams"
    states = sorted(target.glob("iter_*"), key=lambda path: int(path.name[5:]))
    if states and int(states[-1].name[5:]) >= iters and best.is_file():
        return best
    resume = ["--resume_model", states[-1]] if states else []
    options = ["--iters", iters, "--save_dir", target, "--save_interval", interval, "--do_eval", "--log_iters", 20]
    _command(*command, "--config", config, *options, *resume)
    return best


def _command(*arguments: Any) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    subprocess.run([sys.executable, "-W", "ignore", "-m", "ptq", *map(str, arguments)], check=True, env=environment)


def _progress(target: Path) -> tuple[list[float], list[list[float]]]:
    last = max(target.glob("iter_*"), key=lambda path: int(path.name[5:]))
    content = json.loads((last / "progress.json").read_text(encoding="utf-8"))
    return content["best"], content["curve"]


def _miou(config: Path, file: Path) -> dict[str, Any]:
    setup = read_setup(config)
    session = open_session(str(file), 1)
    name = session.get_inputs()[0].name
    confusion = Confusion(setup.classes, setup.ignore_index)
    for index in range(len(setup.val_dataset)):
        picture, labels = setup.val_dataset[index]
        (found,) = session.run(None, {name: picture[None]})
        confusion.add(np.asarray(found[0], dtype=np.int64), labels)
    scores = confusion.scores()
    return {"miou": scores.miou, "accuracy": scores.accuracy, "iou": list(scores.iou)}


def _speeds(prefix: Path) -> list[dict[str, Any]]:
    return bench(str(prefix), None, batches=[1], threads=[1]).flat_rows()
