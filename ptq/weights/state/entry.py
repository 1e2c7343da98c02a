"""One tensor of a state that lies in a file: where it is, and reading it in pieces."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import CorruptArtifactError

__all__ = ["DTYPES", "Entry", "as_float32"]

# Names of data types in safetensors files, and what NumPy reads them as; it has no bfloat16, which is the upper half of a float32.
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
FLOATS = ("F64", "F32", "F16", "BF16")
PIECE = 1 << 22


@dataclass(frozen=True)
class Entry:
    """A tensor in a file.

    ``dtype``: a key of `DTYPES`; ``offset``, ``length``: of its bytes in the file; ``is_text``: they are text that stands for bytes, as in
    pickles of protocol 2.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    length: int
    is_text: bool = False

    @property
    def is_float(self) -> bool:
        """Whether it holds real numbers."""
        return self.dtype in FLOATS

    @property
    def bytes(self) -> int:
        """Bytes of the elements."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(DTYPES[self.dtype]).itemsize

    def read(self) -> npt.NDArray[Any]:
        """The elements in the shape of the tensor, a bfloat16 as uint16; nothing else of that size is held.

        Raises:
            CorruptArtifactError: the file ends too early, or holds another number of bytes than the shape tells.
        """
        data = bytearray(self.bytes)
        view, position, left = memoryview(data), 0, self.length
        decode = codecs.getincrementaldecoder("utf-8")().decode
        with self.file.open("rb") as file:
            file.seek(self.offset)
            while left:
                piece = file.read(min(PIECE, left))
                if not piece:
                    raise CorruptArtifactError(f"{self.file} is cut short: tensor '{self.name}' lacks {left} bytes")
                left -= len(piece)
                try:
                    found = decode(piece, not left).encode("latin1") if self.is_text else piece
                except UnicodeError as error:
                    raise CorruptArtifactError(f"{self.file}: tensor '{self.name}' is damaged: {error}") from error
                if position + len(found) > len(view):
                    position = -1
                    break
                view[position : position + len(found)] = found
                position += len(found)
        if position != len(view):
            raise CorruptArtifactError(
                f"{self.file}: tensor '{self.name}' has another number of bytes than {self.dtype} {list(self.shape)} takes"
            )
        return np.frombuffer(data, DTYPES[self.dtype]).reshape(self.shape)


def as_float32(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    """Elements as float32; ``dtype`` tells a bfloat16."""
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)
