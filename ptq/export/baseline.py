"""Where the float model is saved beside a quantized one."""

from __future__ import annotations

import os

__all__ = ["baseline_path"]


def baseline_path(path: str | os.PathLike[str]) -> str:
    """The prefix ``float_name`` in the folder of the prefix ``name``.

    Not ``name_float``: `paddle.jit.load` of one model takes files of all whose names begin with its own for methods of it.
    """
    folder, name = os.path.split(os.fspath(path))
    return os.path.join(folder, f"float_{name}")
