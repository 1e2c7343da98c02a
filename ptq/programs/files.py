"""From what the user names to the files of a saved program: a prefix, a file or a folder, in all the ways in which Paddle has saved."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from quantizers.errors import ProgramError

__all__ = ["ProgramFiles", "find_files"]

MODELS = (".json", ".pdmodel")
PARAMETERS = ".pdiparams"


@dataclass(frozen=True)
class ProgramFiles:
    """Where a program lies.

    Attributes:
        model: the program.
        parameters: one file with all parameters, or a folder with one file each; need not exist for a program without any.
    """

    model: Path
    parameters: Path

    @property
    def separate(self) -> bool:
        """Whether each parameter has a file of its own."""
        return self.parameters.is_dir()


def find_files(
    path: str | os.PathLike[str],
    params_path: str | os.PathLike[str] | None,
    model_filename: str | None,
    params_filename: str | None,
) -> ProgramFiles:
    """The files that are meant.

    Args:
        path: prefix, program file, or folder.
        params_path: the file of parameters, or the folder with one file each, where it does not lie beside the program.
        model_filename, params_filename: names in the folder ``path``; for ``params_filename`` alone the program is found as usual.

    Raises:
        ProgramError: there is no program, or more than one could be meant, or it is one that this project wrote.
    """
    given = Path(path)
    if model_filename is not None:
        model = _named(given, model_filename, MODELS, "program")
    elif given.is_dir():
        model = _in_folder(given)
    else:
        model = _beside(given)
    _refuse_own_artifact(model)
    if params_path is not None:
        return ProgramFiles(model, _existing(Path(params_path)))
    if params_filename is not None:
        return ProgramFiles(model, _named(model.parent, params_filename, (PARAMETERS,), "file of parameters"))
    return ProgramFiles(model, _parameters_of(model))


def _named(folder: Path, name: str, suffixes: tuple[str, ...], what: str) -> Path:
    for candidate in (folder / name, *(folder / f"{name}{suffix}" for suffix in suffixes)):
        if candidate.is_file():
            return candidate
    raise ProgramError(f"{folder} has no {what} called {name}; it holds {_listing(folder)}")


def _in_folder(folder: Path) -> Path:
    usual = [folder / name for name in ("inference.json", "inference.pdmodel", "__model__", "model.json", "model.pdmodel")]
    found = next((path for path in usual if path.is_file()), None)
    if found is not None:
        return found
    models = sorted(path for path in folder.iterdir() if path.suffix in MODELS and path.with_suffix(PARAMETERS).is_file())
    models = models or sorted(path for path in folder.iterdir() if path.suffix == ".pdmodel")
    if len(models) == 1:
        return models[0]
    if models:
        raise ProgramError(f"{folder} holds several programs ({', '.join(path.name for path in models)}): name one of them")
    if any(folder.glob("*.ptq.json")):
        _refuse_own_artifact(next(iter(folder.glob("*.ptq.json"))).with_suffix("").with_suffix(".json"))
    raise ProgramError(f"{folder} holds no saved program (.json, .pdmodel or __model__); it holds {_listing(folder)}")


def _beside(given: Path) -> Path:
    if given.is_file():
        if given.suffix == PARAMETERS:
            raise ProgramError(f"{given} is the file of parameters; name the program beside it, {given.with_suffix('')}")
        return given
    candidates = [Path(f"{given}{suffix}") for suffix in MODELS]
    found = [path for path in candidates if path.is_file()]
    if found:
        return found[0]
    where = f"{given.parent} holds {_listing(given.parent)}" if given.parent.is_dir() else f"there is no folder {given.parent}"
    raise ProgramError(f"there is no saved program {given}.json or {given}.pdmodel; {where}")


def _parameters_of(model: Path) -> Path:
    beside = model.with_suffix(PARAMETERS) if model.suffix in MODELS else model.with_name(model.name + PARAMETERS)
    for candidate in (beside, model.with_name("__params__"), model.with_name("params")):
        if candidate.is_file():
            return candidate
    return beside if model.suffix in MODELS else model.parent


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ProgramError(f"there is no file of parameters {path}")
    return path


def _refuse_own_artifact(model: Path) -> None:
    manifest = model.with_name(f"{model.stem}.ptq.json")
    if manifest.is_file():
        raise ProgramError(
            f"{model.with_suffix('')} was quantized and saved by this project ({manifest.name} lies beside it): open it with ptq.load"
        )


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
