"""Pictures of rectangles, whose colour tells their class, in PaddleSeg's layout, and a configuration for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

COLOURS = np.array([[40, 40, 40], [200, 60, 60], [60, 200, 60]])

BASE: dict[str, Any] = {
    "batch_size": 4,
    "iters": 12,
    "train_dataset": {
        "type": "Dataset",
        "train_path": "train.txt",
        "num_classes": 3,
        "mode": "train",
        "transforms": [
            {"type": "ResizeStepScaling", "min_scale_factor": 0.75, "max_scale_factor": 1.25, "scale_step_size": 0.25},
            {"type": "RandomPaddingCrop", "crop_size": [40, 32]},
            {"type": "RandomHorizontalFlip"},
            {"type": "RandomDistort"},
            {"type": "Normalize"},
        ],
    },
    "val_dataset": {
        "type": "Dataset",
        "val_path": "val.txt",
        "num_classes": 3,
        "mode": "val",
        "transforms": [{"type": "Normalize"}],
    },
    "optimizer": {"type": "sgd", "momentum": 0.9, "weight_decay": 4.0e-5},
    "lr_scheduler": {"type": "PolynomialDecay", "learning_rate": 0.05, "end_lr": 0, "power": 0.9, "warmup_iters": 2},
    "loss": {"types": [{"type": "CrossEntropyLoss"}], "coef": [1]},
    "model": {"type": "LiteSeg", "width": 4, "depth": 1},
}


def write_streets(folder: Path, pictures: int = 16) -> None:
    """Writes data and ``base.yml``, and ``small.yml`` that is laid over it."""
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    lines = []
    for number in range(pictures):
        labels = np.zeros((36, 48), dtype=np.uint8)
        for kind in (1, 2):
            top, left = random.integers(0, 20), random.integers(0, 30)
            labels[top : top + 14, left : left + 16] = kind
        picture = np.clip(COLOURS[labels] + random.normal(0, 12, (36, 48, 3)), 0, 255).astype(np.uint8)
        labels[0, :3] = 255
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{number}.png")
        lines.append(f"images/{number}.png labels/{number}.png")
    (folder / "train.txt").write_text("\n".join(lines[:12]) + "\n", encoding="utf-8")
    (folder / "val.txt").write_text("\n".join(lines[12:]), encoding="utf-8")
    roots = {name: {"dataset_root": str(folder)} for name in ("train_dataset", "val_dataset")}
    (folder / "base.yml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    (folder / "small.yml").write_text(yaml.safe_dump({"_base_": "base.yml", **roots}), encoding="utf-8")


def config(folder: Path, file: Path, **changes: Any) -> Path:
    """A configuration over ``small.yml``."""
    file.write_text(yaml.safe_dump({"_base_": str(folder / "small.yml"), **changes}), encoding="utf-8")
    return file
