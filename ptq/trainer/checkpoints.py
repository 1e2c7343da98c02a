"""States of a training on disk: ``iter_N`` and ``best_model``, each written whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import ArtifactError

__all__ = ["MODEL", "Progress", "load_model", "load_training", "save_best", "save_training"]

MODEL = "model.pdparams"
OPTIMIZER = "model.pdopt"
PROGRESS = "progress.json"
MARK = "|"  # between the path of a parameter and what an optimizer keeps of it


class Progress:
    """How far a training is.

    Attributes:
        iteration: iterations done.
        best: the best score so far and its iteration, or None.
        curve: ``[iteration, score]`` of each validation.
    """

    def __init__(self, iteration: int = 0, best: list[float] | None = None, curve: list[list[float]] | None = None) -> None:
        self.iteration, self.best, self.curve = iteration, best, curve or []


def save_training(folder: Path, model: nn.Layer, optimizer: Any, progress: Progress, keep: int) -> Path:
    """Writes ``iter_N``; of older ones the last ``keep - 1`` stay."""
    target = folder / f"iter_{progress.iteration}"
    _write(target, {MODEL: model.state_dict(), OPTIMIZER: _by_path(model, optimizer.state_dict())}, vars(progress))
    states = sorted((int(match.group(1)), path) for path in folder.iterdir() if (match := re.fullmatch(r"iter_(\d+)", path.name)))
    for _, path in states[: max(0, len(states) - keep)]:
        shutil.rmtree(path, ignore_errors=True)
    return target


def save_best(folder: Path, model: nn.Layer) -> Path:
    """Writes ``best_model/model.pdparams``."""
    _write(folder / "best_model", {MODEL: model.state_dict()}, None)
    return folder / "best_model" / MODEL


def _write(target: Path, states: dict[str, Any], progress: dict[str, Any] | None) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, state in states.items():
            paddle.save(state, str(temporary / name))
        if progress is not None:
            (temporary / PROGRESS).write_text(json.dumps(progress), encoding="utf-8")
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ArtifactError(f"the state {target} cannot be written: {error}") from error


def load_model(model: nn.Layer, path: str | Path) -> None:
    """Gives a model the parameters of a file, or of a folder with one.

    Raises:
        ArtifactError: there is no such file, or it is not one of this model's.
    """
    file = Path(path)
    file = file / MODEL if file.is_dir() else file
    state = _load(file)
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    if missing:
        raise ArtifactError(f"{file} lacks {len(missing)} tensors of the model, the first is {missing[0]!r}; it is another model's")
    shapes = [name for name in own if list(own[name].shape) != list(state[name].shape)]
    if shapes:
        name = shapes[0]
        raise ArtifactError(f"{file}: {name!r} has shape {list(state[name].shape)}, the model's {list(own[name].shape)}")
    model.set_state_dict(state)


def load_training(folder: str | Path, model: nn.Layer, optimizer: Any) -> Progress:
    """Takes up a training where ``iter_N`` left it; raises as `load_model`."""
    place = Path(folder)
    load_model(model, place)
    optimizer.set_state_dict(_by_name(model, _load(place / OPTIMIZER)))
    try:
        return Progress(**json.loads((place / PROGRESS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{place / PROGRESS} cannot be read: {error}; resume from a whole iter_N folder") from error


def _by_path(model: nn.Layer, state: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state by the paths of parameters: their names, by which Paddle has it, depend on what else a process has made."""
    paths = {parameter.name: path for path, parameter in model.named_parameters()}
    found = {}
    for key, value in state.items():
        name = max((name for name in paths if key.startswith(f"{name}_")), key=len, default=None)
        found[key if name is None else f"{paths[name]}{MARK}{key[len(name) :]}"] = value
    return found


def _by_name(model: nn.Layer, state: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `_by_path`, for the model as it is called now."""
    names = {path: parameter.name for path, parameter in model.named_parameters()}
    found = {}
    for key, value in state.items():
        path, mark, rest = key.partition(MARK)
        found[f"{names.get(path, path)}{rest}" if mark else key] = value
    return found


def _load(file: Path) -> Any:
    if not file.is_file():
        raise ArtifactError(f"there is no file {file}")
    try:
        return paddle.load(str(file))
    except Exception as error:  # whatever unpickling makes of a damaged file
        raise ArtifactError(f"{file} cannot be read: {type(error).__name__}: {error}") from error
