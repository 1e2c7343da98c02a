"""What a model takes: the names, sizes and data types that data is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantizers.errors import ConfigError, ShapeError, UnsupportedDtypeError

__all__ = ["Takes", "with_shapes"]


@dataclass(frozen=True)
class Takes:
    """One input of a model; free sizes are ``None``; the data type as NumPy calls it."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @classmethod
    def of(cls, spec: Any) -> Takes:
        """The same of an `InputSpec`."""
        shape = tuple(None if size is None or int(size) < 0 else int(size) for size in spec.shape)
        return cls(str(spec.name), shape, str(spec.dtype).rpartition(".")[2])

    @property
    def shown(self) -> str:
        """``float32 [?, 3, 48, 192]``."""
        return f"{self.dtype} [{', '.join('?' if size is None else str(size) for size in self.shape)}]"

    def check_samples(self, array: np.ndarray[Any, Any], where: str) -> None:
        """Whether an array holds samples of this input, any number of them along its first axis.

        Raises:
            ShapeError: its sizes behind the first axis are not the input's.
            UnsupportedDtypeError: it holds another kind of numbers.
        """
        fits = array.ndim == len(self.shape) and all(own in (None, size) for own, size in zip(self.shape[1:], array.shape[1:], strict=True))
        if not fits:
            raise ShapeError(f"{where} has the shape {list(array.shape)}, but the model's input {self.name!r} is {self.shown}")
        kind = "f" if self.dtype in ("float16", "bfloat16", "float32", "float64") else "iu" if "int" in self.dtype else "b"
        if array.dtype.kind not in kind:
            raise UnsupportedDtypeError(
                f"{where} holds {array.dtype}, but the model's input {self.name!r} is {self.shown}: "
                "store the samples preprocessed as in production"
            )

    def cast(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The array in the data type of the input; half precision is float32 in memory."""
        return np.ascontiguousarray(array, dtype="float32" if self.dtype in ("float16", "bfloat16") else self.dtype)


def with_shapes(inputs: Sequence[Takes], shapes: dict[str, tuple[int | None, ...]]) -> list[Takes]:
    """The inputs, some of their free sizes fixed by ``shapes``.

    Raises:
        ConfigError: there is no input of a name, or a shape contradicts what the model says.
    """
    names = [item.name for item in inputs]
    unknown = [name for name in shapes if name not in names]
    if unknown:
        raise ConfigError(f"the model has no input {', '.join(map(repr, unknown))}; it takes {', '.join(names)}")
    found = []
    for item in inputs:
        shape = shapes.get(item.name, item.shape)
        if len(shape) != len(item.shape) or any(own not in (None, size) for own, size in zip(item.shape, shape, strict=True)):
            raise ConfigError(
                f"--input {item.name}={','.join('-1' if n is None else str(n) for n in shape)} contradicts the model: {item.shown}"
            )
        found.append(Takes(item.name, tuple(shape), item.dtype))
    return found
