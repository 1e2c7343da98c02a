"""Recipes: which recoveries are tried in which order, with which settings; three come with the project, users' own are JSON.

The settings are the same for every model: what helps one is found by trying, not by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from quantizers.errors import ConfigError

from ..util.json_file import read_json, write_json
from .distill import DistillSettings, distill
from .ranges import recover_ranges
from .weights import WeightSettings, recover_weights
from .workbench import Workbench

__all__ = ["RECIPES", "STEPS", "Recipe", "Step", "recipe_named"]

FORMAT, VERSION = "paddle-ptq recipe", 1


@dataclass(frozen=True)
class NoSettings:
    """Of a recovery without settings."""


@dataclass(frozen=True)
class Recovery:
    """A kind of step: its settings and what it does to a workbench."""

    settings: type
    run: Callable[[Workbench, Any], None]


# a new recovery is one file and one line here
STEPS: Mapping[str, Recovery] = {
    "ranges": Recovery(NoSettings, lambda bench, _settings: recover_ranges(bench)),
    "weights": Recovery(WeightSettings, recover_weights),
    "distill": Recovery(DistillSettings, distill),
}


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Args:
        name: the kind of recovery, of `STEPS`.
        settings: its settings.
        below: tried only where a weight or a grid of the model has fewer bits; always when 0.

    Raises:
        ConfigError: there is no such recovery, or the settings are another's.
    """

    name: str
    settings: Any = None
    below: int = 0

    def __post_init__(self) -> None:
        if self.name not in STEPS:
            raise ConfigError(f"a recipe has no step {self.name!r}; there are {', '.join(STEPS)}")
        kind = STEPS[self.name].settings
        if self.settings is None:
            object.__setattr__(self, "settings", kind())
        if not isinstance(self.settings, kind):
            raise ConfigError(f"the settings of step {self.name!r} must be {kind.__name__}, got {self.settings!r}")
        if type(self.below) is not int or self.below < 0:
            raise ConfigError(f"below must be a number of bits or 0, got {self.below!r}")

    def __str__(self) -> str:
        default = type(self.settings)()
        changed = {field.name: getattr(self.settings, field.name) for field in fields(self.settings)}
        told = [f"{name}={value}" for name, value in changed.items() if value != getattr(default, name)]
        return f"{self.name} ({', '.join(told)})" if told else self.name


@dataclass(frozen=True)
class Recipe:
    """An ordered list of steps.

    Args:
        name: for reports.
        steps: tried one after the other, each kept where the held-back samples say that it helps.
        stop_at: no further step is tried once the judge's figure is this large.
    """

    name: str
    steps: tuple[Step, ...]
    stop_at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values for `from_dict`."""
        steps = [
            {"step": step.name, "below": step.below, **{key: _plain(value) for key, value in asdict(step.settings).items()}}
            for step in self.steps
        ]
        return {"format": FORMAT, "version": VERSION, "name": self.name, "steps": steps, "stop_at": self.stop_at}

    @classmethod
    def from_dict(cls, values: Any) -> Recipe:
        """The recipe that `to_dict` described; a setting that is left out has its default.

        Raises:
            ConfigError: the values are no recipe.
        """
        if not isinstance(values, Mapping) or values.get("format") != FORMAT or not isinstance(values.get("steps"), list):
            raise ConfigError(f"not a recipe: expected an object with 'format': {FORMAT!r} and a list 'steps', got {values!r:.200}")
        if values.get("version") != VERSION:
            raise ConfigError(f"this recipe has version {values.get('version')!r}, this paddle-ptq reads version {VERSION}")
        unknown = set(values) - {"format", "version", "name", "steps", "stop_at"}
        if unknown:
            raise ConfigError(f"a recipe has no {', '.join(sorted(map(repr, unknown)))}")
        stop_at = values.get("stop_at")
        if stop_at is not None and not isinstance(stop_at, (int, float)):
            raise ConfigError(f"a recipe's stop_at must be a number or null, got {stop_at!r}")
        return cls(str(values.get("name", "")), tuple(_step(item) for item in values["steps"]), stop_at)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Writes the recipe to a file; raises ``ArtifactError`` where that cannot be written."""
        write_json(path, self.to_dict())


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _step(values: Any) -> Step:
    if not isinstance(values, Mapping) or values.get("step") not in STEPS:
        raise ConfigError(f"a step of a recipe is an object with 'step', one of {', '.join(STEPS)}; got {values!r:.200}")
    kind = STEPS[values["step"]].settings
    settings = {name: value for name, value in values.items() if name not in ("step", "below")}
    known = {field.name for field in fields(kind)}
    if not set(settings) <= known:
        raise ConfigError(f"step {values['step']!r} has no {', '.join(sorted(set(settings) - known))}; it has {', '.join(sorted(known))}")
    try:
        return Step(values["step"], kind(**settings), values.get("below", 0))
    except TypeError as error:
        raise ConfigError(f"step {values['step']!r}: {error}") from error


FAST = Recipe("fast", (Step("weights", WeightSettings("keep", stages=1, samples=256)),))
BALANCED = Recipe(
    "balanced",
    (
        Step("weights", WeightSettings("gptq", stages=8, samples=128)),
        Step("distill", DistillSettings(epochs=1, kinds=("scales", "biases", "inputs")), below=8),
    ),
)
BEST = Recipe(
    "best",
    (
        Step("weights", WeightSettings("gptq", stages=16)),
        Step("weights", WeightSettings("gptq", stages=16, corrected=True)),
        Step("distill", DistillSettings(epochs=1, window=4)),
        Step("distill", DistillSettings(epochs=1, kinds=("scales", "biases", "inputs"))),
    ),
)
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (FAST, BALANCED, BEST)}


def recipe_named(recipe: str | os.PathLike[str] | Recipe | Mapping[str, Any]) -> Recipe:
    """A recipe of the project by its name, one from a JSON file or its values, or the recipe itself.

    Raises:
        ConfigError: it is none of these, or the file holds something else.
        ArtifactError: there is no such file.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return Recipe.from_dict(recipe)
    if isinstance(recipe, str) and recipe in RECIPES:
        return RECIPES[recipe]
    if isinstance(recipe, (str, os.PathLike)) and os.fspath(recipe).endswith(".json"):
        return Recipe.from_dict(read_json(recipe))
    raise ConfigError(f"recipe must be one of {', '.join(RECIPES)}, the path of a .json file, a Recipe or None, got {recipe!r}")
