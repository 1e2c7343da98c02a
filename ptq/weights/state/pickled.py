"""Reads where the tensors of a ``.pdparams`` file are, without executing anything in it.

Such a file is a pickle: a program for a machine that calls any function it names.  Here its instructions are followed on symbols.  The
functions that make arrays are known by name and stand for what they would make; any other is refused, and none is called.  The bytes of
arrays are passed over, so that only their place is kept.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from quantizers.errors import ArtifactError, CorruptArtifactError

from .entry import DTYPES, Entry

__all__ = ["pickled_entries"]

# Longer texts and bytes are data of arrays, and stay in the file.
LONG = 1024
MARK = object()
NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
KNOWN = {
    **{f"{module}.{name}": name for module in NUMPY for name in ("_reconstruct", "ndarray", "dtype", "scalar")},
    "_codecs.encode": "encode",
    "collections.OrderedDict": "OrderedDict",
}
NAMES = {np.dtype(code): name for name, code in DTYPES.items()}
# What Paddle adds to a state that is no tensor.
EXTRA = ("StructuredToParameterName@@",)
SLICED = "UnpackBigParamInfor@@"


@dataclass
class Data:
    """Bytes that were left in the file."""

    offset: int
    length: int
    is_text: bool = False


@dataclass
class Symbol:
    """What a known function would make: its name, its arguments, and the state that it is given afterwards."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


def pickled_entries(path: Path) -> list[Entry]:
    """The tensors of a ``.pdparams`` file, in its order.

    Raises:
        ArtifactError: the file cannot be read, or asks for a function that does not make tensors, which is named and not called.
        CorruptArtifactError: it is no pickle, is cut short, or holds something else than tensors by name.
    """
    try:
        with path.open("rb") as file:
            state = _Reader(file, path).run()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from error
    except (struct.error, IndexError, KeyError, UnicodeError, TypeError, AttributeError) as error:
        raise CorruptArtifactError(f"{path} is no file of parameters, or is cut short or damaged ({type(error).__name__})") from error
    if isinstance(state, Symbol) and state.name == "OrderedDict":
        state = state.items
    if not isinstance(state, dict):
        raise CorruptArtifactError(f"{path} holds no tensors by name")
    if SLICED in state:
        raise ArtifactError(f"{path} holds tensors cut into slices (an old pickle protocol); save it again with protocol=4")
    return [_entry(path, name, value) for name, value in state.items() if name not in EXTRA]


def _entry(path: Path, name: Any, value: Any) -> Entry:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]  # the parameter's own name, and its array
    if not isinstance(name, str) or not isinstance(value, Symbol) or value.name != "_reconstruct" or not isinstance(value.state, tuple):
        raise CorruptArtifactError(f"{path}: {name!r:.100} is no tensor; only states, tensors by name, can be read")
    _, shape, dtype, is_fortran, data = value.state
    if is_fortran and len(shape) > 1:
        raise ArtifactError(f"{path}: '{name}' is stored column by column, which is not read")
    if isinstance(data, Symbol) and data.name == "encode":
        data = data.arguments[0]
    if isinstance(data, (bytes, str)):
        raise CorruptArtifactError(f"{path}: '{name}' has data of an unknown kind")
    return Entry(name, _dtype(path, name, dtype), tuple(int(size) for size in shape), path, data.offset, data.length, data.is_text)


def _dtype(path: Path, name: str, dtype: Any) -> str:
    order = dtype.state[1] if isinstance(dtype.state, tuple) else "|"
    try:
        found = np.dtype(("<" if order == "=" else order) + dtype.arguments[0])
        return NAMES[found]
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: '{name}' has a data type that is not read: {dtype.arguments!r:.80}") from error


class _Reader:
    """Follows the instructions of one pickle."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.size = path.stat().st_size

    def run(self) -> Any:
        while True:
            code = self.file.read(1)
            if code == b".":
                return self.stack.pop()
            step = STEPS.get(code)
            if step is None:
                what = "it is cut short" if not code else f"instruction {code!r} is none of those that Paddle writes"
                raise CorruptArtifactError(f"{self.path} is no file of parameters: {what}")
            step(self)

    def skip(self, count: int) -> None:
        self.file.seek(count, 1)

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.file.read(struct.calcsize(form)))[0])

    def data(self, length: int, is_text: bool) -> None:
        if not 0 <= length <= self.size - self.file.tell():
            raise CorruptArtifactError(f"{self.path} is cut short: it says {length} bytes, {self.size - self.file.tell()} are left")
        start = self.file.tell()
        # of bytes only the place counts; texts that are short are names
        if not is_text or length > LONG:
            self.file.seek(length, 1)
            self.stack.append(Data(start, length, is_text))
            return
        text = self.file.read(length)
        self.stack.append(_Text(text.decode("utf-8", "surrogatepass"), start, length))

    def line(self) -> str:
        return self.file.readline(1 << 12).decode("utf-8").rstrip("\n")

    def known(self, module: str, name: str) -> None:
        found = KNOWN.get(f"{module}.{name}")
        if found is None:
            raise ArtifactError(
                f"{self.path} asks for {module}.{name}, which makes no tensor: it is not called, and the file is refused; "
                "if you trust the file, load it with paddle.load and save its tensors alone"
            )
        self.stack.append(Symbol(found))

    def marked(self) -> list[Any]:
        place = len(self.stack) - 1 - self.stack[::-1].index(MARK)
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def memoize(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def tuple_of(self, count: int) -> None:
        found = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.stack.append(found)

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Symbol) or function.arguments or not isinstance(arguments, tuple):
            raise CorruptArtifactError(f"{self.path} calls something that is no function")
        if function.name == "encode" and isinstance(arguments[0], _Text):
            arguments = (Data(arguments[0].offset, arguments[0].length, True), *arguments[1:])
        self.stack.append(Symbol(function.name, arguments))

    def build(self) -> None:
        state = self.stack.pop()
        self.stack[-1].state = state

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        target = target.items if isinstance(target, Symbol) else target
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[str(key) if isinstance(key, str) else key] = value

    def append(self, items: list[Any]) -> None:
        self.stack[-1].extend(items)

    def set_one(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.known(str(module), str(name))


class _Text(str):
    """A short text, and where it is: it may be the data of a small array."""

    offset: int
    length: int

    def __new__(cls, text: str, offset: int, length: int) -> _Text:
        made = super().__new__(cls, text)
        made.offset, made.length = offset, length
        return made


def _push(value: Callable[[], Any]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(value())


STEPS: dict[bytes, Callable[[_Reader], None]] = {
    b"\x80": lambda r: r.skip(1),  # protocol
    b"\x95": lambda r: r.skip(8),  # frame
    b"}": _push(dict),
    b"]": _push(list),
    b")": _push(tuple),
    b"(": lambda r: r.stack.append(MARK),
    b"N": _push(lambda: None),
    b"\x88": _push(lambda: True),
    b"\x89": _push(lambda: False),
    b"K": lambda r: r.stack.append(r.number("<B")),
    b"M": lambda r: r.stack.append(r.number("<H")),
    b"J": lambda r: r.stack.append(r.number("<i")),
    b"\x8a": lambda r: r.stack.append(int.from_bytes(r.file.read(r.number("<B")), "little", signed=True)),
    b"X": lambda r: r.data(r.number("<I"), True),
    b"\x8c": lambda r: r.data(r.number("<B"), True),
    b"\x8d": lambda r: r.data(r.number("<Q"), True),
    b"B": lambda r: r.data(r.number("<I"), False),
    b"C": lambda r: r.data(r.number("<B"), False),
    b"\x8e": lambda r: r.data(r.number("<Q"), False),
    b"\x94": lambda r: r.memoize(len(r.memo)),
    b"q": lambda r: r.memoize(r.number("<B")),
    b"r": lambda r: r.memoize(r.number("<I")),
    b"h": lambda r: r.stack.append(r.memo[r.number("<B")]),
    b"j": lambda r: r.stack.append(r.memo[r.number("<I")]),
    b"c": lambda r: r.known(r.line(), r.line()),
    b"\x93": lambda r: r.stack_global(),
    b"t": lambda r: r.stack.append(tuple(r.marked())),
    b"\x85": lambda r: r.tuple_of(1),
    b"\x86": lambda r: r.tuple_of(2),
    b"\x87": lambda r: r.tuple_of(3),
    b"R": lambda r: r.reduce(),
    b"b": lambda r: r.build(),
    b"u": lambda r: r.set_items(r.marked()),
    b"s": lambda r: r.set_one(),
    b"a": lambda r: r.append([r.stack.pop()]),
    b"e": lambda r: r.append(r.marked()),
}
