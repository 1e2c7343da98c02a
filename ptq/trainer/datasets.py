"""Pictures and their labels, as PaddleSeg's list files name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from paddle.io import Dataset

from quantizers.errors import ArtifactError, CalibrationError, ConfigError

from ..data.pillow import pillow
from .named import make
from .settings import typed
from .transforms import TRANSFORMS, Transform

__all__ = ["DATASETS", "Drawn", "ListDataset", "made_dataset"]


class ListDataset(Dataset):  # type: ignore[misc]
    """Pictures with a label for every pixel, named in a list file: ``images/a.jpg labels/a.png`` a line.

    Args:
        dataset_root: folder that the names are relative to.
        train_path, val_path: the list file, by ``mode``.
        num_classes: labels are 0 to one less.
        transforms: sections, applied in order.
        mode: ``train`` or ``val``.
        ignore_index: the label of pixels that do not count.
        separator: between the two names.

    Raises:
        ConfigError: an argument is missing or wrong.
        ArtifactError: a file that is named does not exist.
    """

    def __init__(
        self,
        dataset_root: str,
        num_classes: int,
        transforms: Sequence[Mapping[str, Any]] = (),
        mode: str = "train",
        train_path: str | None = None,
        val_path: str | None = None,
        ignore_index: int = 255,
        separator: str = " ",
    ) -> None:
        super().__init__()
        if mode not in ("train", "val"):
            raise ConfigError(f"mode must be train or val, got {mode!r}")
        listed = train_path if mode == "train" else val_path
        if not listed:
            raise ConfigError(f"mode {mode} needs {mode}_path, the list file")
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.transforms = [_transform(values, number) for number, values in enumerate(transforms)]
        self.files = _pairs(Path(dataset_root), Path(listed), separator)

    def __len__(self) -> int:
        return len(self.files)

    def get(self, index: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One sample: float32 ``[3, height, width]`` and int64 ``[height, width]``.

        Raises:
            CalibrationError: the two have different sizes, or a label is none of the classes.
            ArtifactError: a file cannot be read.
        """
        image, mask = self.files[index]
        picture = _read(image, "RGB").astype(np.float32)
        labels = _read(mask, None)
        if labels.ndim != 2 or labels.shape != picture.shape[:2]:
            raise CalibrationError(
                f"{mask} has shape {list(labels.shape)}, its picture {list(picture.shape[:2])}: one label a pixel is needed"
            )
        wrong = np.unique(labels[(labels >= self.num_classes) & (labels != self.ignore_index)])
        if wrong.size:
            raise CalibrationError(
                f"{mask} has the labels {wrong[:5].tolist()}, but num_classes is {self.num_classes} and {self.ignore_index} does not count"
            )
        labels = labels.astype(np.uint8)
        for transform in self.transforms:
            picture, labels = transform(picture, labels, random)
        return np.ascontiguousarray(picture.transpose(2, 0, 1)), labels.astype(np.int64)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.get(index, np.random.default_rng(index))


class Drawn(Dataset):  # type: ignore[misc]
    """A dataset whose items are asked for by index and by the number of the draw, which with the seed decides all chance in it.

    So nothing of it depends on the process that reads it, and a training goes on as if it had not been interrupted.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        super().__init__()
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        index, draw = key
        if hasattr(self.dataset, "get"):
            return self.dataset.get(index, np.random.default_rng((self.seed, draw, index)))
        return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)


DATASETS: Mapping[str, Callable[..., Any]] = {"Dataset": ListDataset}


def made_dataset(values: Any, where: str) -> Any:
    """The dataset of a section; raises ``ConfigError`` where it has no items or no length."""
    kind, arguments = typed(values, where)
    dataset = make(kind, arguments, DATASETS, where)
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise ConfigError(f"{where}: {kind} must make a dataset with a length and items of an input and its label, got {dataset!r:.100}")
    if not len(dataset):
        raise ConfigError(f"{where}: the dataset is empty")
    return dataset


def _transform(values: Any, number: int) -> Transform:
    kind, arguments = typed(values, f"transforms[{number}]")
    made: Transform = make(kind, arguments, TRANSFORMS, f"transforms[{number}]")
    return made


def _pairs(root: Path, listed: Path, separator: str) -> list[tuple[Path, Path]]:
    listed = listed if listed.is_absolute() or listed.exists() else root / listed
    try:
        lines = [line for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ArtifactError(f"the list of files {listed} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        names = [name for name in line.strip().split(separator) if name]
        if len(names) != 2:
            raise ConfigError(f"{listed}, line {number}: a picture and its labels, separated by {separator!r}, expected, got {line!r:.100}")
        pair = root / names[0], root / names[1]
        for path in pair:
            if not path.is_file():
                raise ArtifactError(f"{listed}, line {number}: there is no file {path}")
        found.append(pair)
    return found


def _read(path: Path, mode: str | None) -> np.ndarray:
    try:
        with pillow().open(path) as file:
            return np.asarray(file if mode is None else file.convert(mode))
    except (OSError, ValueError, SyntaxError) as error:
        raise ArtifactError(f"{path} cannot be read as a picture: {error}") from error
