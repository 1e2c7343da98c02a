"""The operators that a program may hold and how each is replayed: one line or one small function each, in files by idea.

Adding an operator is one line in the file of its kind.  Where Paddle's public function makes exactly the same operation it is called,
else the operation itself.
"""

from __future__ import annotations

from . import arithmetic, creation, indexing, pictures, reductions, shapes
from .signature import build

__all__ = ["OPERATORS", "build"]

OPERATORS: dict[str, tuple[str, str]] = {
    **arithmetic.OPERATORS,
    **creation.OPERATORS,
    **indexing.OPERATORS,
    **pictures.OPERATORS,
    **reductions.OPERATORS,
    **shapes.OPERATORS,
}
