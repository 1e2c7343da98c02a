"""Optional dependencies: imported where they are used, and a missing one is an error that names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any

from quantizers.errors import QuantizationError

__all__ = ["MissingExtraError", "import_extra"]


class MissingExtraError(QuantizationError, ImportError):
    """An optional dependency is not installed."""


def import_extra(module: str, extra: str, distribution: str = "") -> Any:
    """Imports a module that comes with an optional extra of this package.

    Args:
        module: its dotted name.
        extra: the extra that installs it.
        distribution: the name to install it by, where that differs from the module's.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{distribution or module.partition('.')[0]} is not installed; run: pip install 'paddle-ptq[{extra}]'"
        ) from error
