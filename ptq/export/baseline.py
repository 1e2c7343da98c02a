"""Where the float model is saved beside a quantized one."""

from __future__ import annotations

import os

from quantizers.errors import ConfigError

__all__ = ["baseline_path"]


def baseline_path(path: str | os.PathLike[str]) -> str:
    """The prefix ``float_name`` in the folder of the prefix ``name``.

    Not ``name_float``: `paddle.jit.load` of one model takes files of all whose names begin with its own for methods of it.

    Raises ``ConfigError`` for what is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigError(f"path must be a prefix such as 'int8/model', got {path!r}")
    folder, name = os.path.split(os.fspath(path))
    return os.path.join(folder, f"float_{name}")
