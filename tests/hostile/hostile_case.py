"""What a hostile case is, and the scene it plays in: a folder, saved models to spoil, and the user's models, which must not change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from models import absmax, data, quietly
from paddle import nn

from ptq import ImperativePTQ, PTQConfig

__all__ = ["Act", "Case", "Scene", "net"]

Act = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One misuse.

    ``expected``: the very class of the error, or `QuantizationWarning` where the misuse is allowed and warned of; ``says``: a pattern
    of the message, with the layer, file or value in it; ``prepare``: sets the scene and returns the misuse itself.
    """

    group: str
    name: str
    expected: type[BaseException]
    says: str
    prepare: Callable[[Scene], Act]


@dataclass
class Scene:
    """Where a case plays.

    ``folder``: empty at first, and as before once the misuse failed; ``saved``: see the fixture of that name; ``patch``: undone after
    the case; ``models``: the user's own.
    """

    folder: Path
    saved: Path
    patch: pytest.MonkeyPatch
    models: list[nn.Layer] = field(default_factory=list)

    def watch(self, model: nn.Layer) -> nn.Layer:
        """The model, which must come out of the case as it is now."""
        self.models.append(model)
        return model

    def quantize(self, model: nn.Layer, config: PTQConfig | None = None, **options: Any) -> Act:
        """`ImperativePTQ.quantize` of the user's model."""
        return partial(ImperativePTQ(absmax() if config is None else config).quantize, self.watch(model), **options)

    def prepared(self, model: nn.Layer | None = None, config: PTQConfig | None = None, **options: Any) -> nn.Layer:
        """A model ready for calibration; the float one is watched."""
        return quietly(self.quantize(net() if model is None else model, config, **options))

    def seen(self, model: nn.Layer | None = None, **options: Any) -> nn.Layer:
        """A calibrated model, which is watched too."""
        prepared = self.prepared(model, **options)
        quietly(lambda: prepared(data(4, 4)))
        return self.watch(prepared)

    def converted(self, model: nn.Layer | None = None, **options: Any) -> nn.Layer:
        """A converted model, which is watched too."""
        return self.watch(quietly(partial(ImperativePTQ().convert, self.seen(model, **options), inplace=False)))

    def copy(self, name: str = "a", target: str = "a") -> Path:
        """A copy in the folder of all files of a saved model; its prefix."""
        for path in self.saved.glob(f"{name}.*"):
            shutil.copy(path, self.folder / path.name.replace(name, target, 1))
        return self.folder / target

    def write(self, name: str, content: bytes) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(content)
        return path


def net() -> nn.Layer:
    """The model of most cases, in eval mode: ``0`` and ``2`` are Linear layers from 4 numbers to 4 and 2."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model.eval()
    return model
