"""A configuration made ready: what to train, on what, for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

from quantizers.errors import ConfigError

from .datasets import Drawn, made_dataset
from .losses import Losses, made_losses
from .nets import made_model
from .optimizers import made_optimizer, made_schedule
from .settings import read_settings, section

__all__ = ["Setup", "read_setup"]

FIRST = 64  # pictures that give activations their first ranges


@dataclass(frozen=True)
class Setup:
    """What a configuration says, and what the command line says instead.

    Args:
        settings: the file's content.
        iters, batch_size, learning_rate, seed: in the place of the file's.
    """

    settings: dict[str, Any]
    iters: int = 0
    batch_size: int = 0
    learning_rate: float | None = None
    seed: int = 0

    def with_options(self, iters: int | None, batch_size: int | None, learning_rate: float | None, seed: int | None) -> Setup:
        """The same with what is given."""
        given: dict[str, Any] = {"iters": iters, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    @cached_property
    def train_dataset(self) -> Any:
        """Of the section ``train_dataset``."""
        return made_dataset(section(self.settings, "train_dataset"), "train_dataset")

    @cached_property
    def val_dataset(self) -> Any:
        """Of the section ``val_dataset``."""
        return made_dataset(section(self.settings, "val_dataset"), "val_dataset")

    @property
    def classes(self) -> int:
        """How many classes are told apart: the model's ``num_classes``, else the training set's."""
        for values in (self.settings.get("model"), self.settings.get("train_dataset")):
            if isinstance(values, dict) and isinstance(values.get("num_classes"), int):
                return int(values["num_classes"])
        raise ConfigError("num_classes must stand in the section model or train_dataset")

    @property
    def ignore_index(self) -> int:
        """The label that does not count."""
        return int(self.settings.get("train_dataset", {}).get("ignore_index", 255))

    def model(self) -> nn.Layer:
        """A new float net, by the seed; ``num_classes`` is the data's where the section leaves it out."""
        values = section(self.settings, "model")
        paddle.seed(self.seed)
        return made_model({"num_classes": self.classes, **values})

    def losses(self) -> Losses:
        """Of the section ``loss``; cross entropy where there is none."""
        return made_losses(self.settings.get("loss", {"types": [{"type": "CrossEntropyLoss", "ignore_index": self.ignore_index}]}))

    def optimizer(self, parameters: list[paddle.Tensor]) -> tuple[Any, Any]:
        """The optimizer of these parameters, and its schedule or its rate."""
        rate = self.learning_rate if self.learning_rate is not None else self.settings.get("learning_rate")
        schedule = made_schedule(self.settings.get("lr_scheduler"), self.iters, rate)
        return made_optimizer(self.settings.get("optimizer"), schedule, parameters), schedule

    def first_pictures(self) -> list[paddle.Tensor]:
        """Batches of the validation's kind of pictures from the training set, the same on all ranks."""
        drawn = Drawn(self.train_dataset, self.seed)
        count = min(len(drawn), FIRST)
        items = [drawn[(index * len(drawn) // count, 0)][0] for index in range(count)]
        size = max(1, self.batch_size)
        return [paddle.to_tensor(np.stack(items[start : start + size])) for start in range(0, count, size)]

    def input_spec(self) -> list[InputSpec]:
        """Shape and type of what the model is given: that of a validation picture, any number of them."""
        item = np.asarray(Drawn(self.val_dataset, 0)[(0, 0)][0])
        return [InputSpec([None, *item.shape], str(item.dtype), "x")]


def read_setup(config: str | Path) -> Setup:
    """A configuration file, checked as far as nothing has to be opened.

    Raises:
        ConfigError: a value is out of range.
        ArtifactError: the file cannot be read.
    """
    settings = read_settings(config)
    setup = Setup(settings, settings.get("iters", 0), settings.get("batch_size", 1), seed=settings.get("seed", 0))
    for name in ("iters", "batch_size", "seed"):
        value = getattr(setup, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(f"{config}: {name} must be a whole number, got {value!r}")
    return setup
