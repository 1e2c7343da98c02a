"""Calibration data as PaddleSlim takes it: samples, batches, or a loader, each as the inputs of the program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle.static import InputSpec

from quantizers.errors import CalibrationError, ConfigError

from .modes import as_it_was

__all__ = ["batches_of"]

Inputs = tuple[np.ndarray[Any, Any], ...]


def batches_of(
    specs: Sequence[InputSpec],
    *,
    batch_generator: Any,
    sample_generator: Any,
    data_loader: Any,
    batch_size: Any,
    batch_nums: Any,
    static: bool,
) -> Iterator[Inputs]:
    """Batches from the one source that is given, as arrays in the order of the program's inputs.

    Args:
        specs: what the program takes.
        batch_generator: yields batches; sample_generator: yields samples, of which ``batch_size`` make a batch; data_loader: yields
            batches, as arrays or by the names of inputs.  Each is an iterable, or a function without arguments that returns one.
        batch_nums: stop after that many batches.
        static: whether the caller was in static mode, in which the source is then run.

    Raises:
        ConfigError: there is not exactly one source, or a number is none.
        CalibrationError: what the source yields does not fit the program (raised while it is read).
    """
    sources = {"batch_generator": batch_generator, "sample_generator": sample_generator, "data_loader": data_loader}
    given = [name for name, source in sources.items() if source is not None]
    if len(given) != 1:
        raise ConfigError(f"quant_post_static: give one of {', '.join(sources)}; given: {', '.join(given) or 'none'}")
    _check_count("batch_size", batch_size)
    if batch_nums is not None:
        _check_count("batch_nums", batch_nums)
    name = given[0]
    items = _run(name, sources[name], static)
    if name == "sample_generator":
        return _limited(_stacked(specs, items, batch_size), batch_nums)
    return _limited((_fitted(specs, item, f"{name}, batch {number}") for number, item in enumerate(items)), batch_nums)


def _limited(batches: Iterator[Inputs], most: int | None) -> Iterator[Inputs]:
    # not itertools.islice behind a full count: the source must not be asked for a batch that nobody uses
    for number, batch in enumerate(batches, 1):
        yield batch
        if number == most:
            return


def _check_count(name: str, value: Any) -> None:
    if type(value) is not int or value < 1:
        raise ConfigError(f"quant_post_static: {name} must be a positive int, got {value!r}")


def _run(name: str, source: Any, static: bool) -> Iterator[Any]:
    """The source's items; its code runs in the mode in which the script is."""
    if not callable(source) and not isinstance(source, Iterable):
        raise ConfigError(f"quant_post_static: {name} must be an iterable or a function that returns one, got {type(source).__name__}")

    def items() -> Iterator[Any]:
        with as_it_was(static):
            found = iter(source() if callable(source) else source)
        while True:
            with as_it_was(static):
                try:
                    item = _arrays(next(found))
                except StopIteration:
                    return
            yield item

    return items()


def _arrays(item: Any) -> Any:
    """Tensors of either mode as arrays, names and lists kept; a loader in static mode wraps its dict in a list."""
    if isinstance(item, (list, tuple)):
        if len(item) == 1 and isinstance(item[0], Mapping):
            return _arrays(item[0])
        return [_arrays(part) for part in item]
    if isinstance(item, Mapping):
        return {name: _arrays(part) for name, part in item.items()}
    return item.numpy() if isinstance(item, paddle.Tensor) else np.asarray(item)


def _stacked(specs: Sequence[InputSpec], samples: Iterator[Any], batch_size: int) -> Iterator[Inputs]:
    waiting: list[Inputs] = []
    for number, sample in enumerate(samples):
        where = f"sample_generator, sample {number}"
        waiting.append(tuple(array[0] for array in _fitted(specs, sample, where, lambda array: array[None])))
        if len(waiting) == batch_size:
            yield _stack(waiting, number)
            waiting = []
    if waiting:
        yield _stack(waiting, number)


def _stack(samples: list[Inputs], last: int) -> Inputs:
    shapes = [sorted({array.shape for array in arrays}) for arrays in zip(*samples, strict=True)]
    differing = next((found for found in shapes if len(found) > 1), None)
    if differing is not None:
        raise CalibrationError(
            f"quant_post_static: sample_generator: the {len(samples)} samples up to {last} have different shapes {differing} "
            "and make no batch; use batch_size=1"
        )
    return tuple(np.stack(arrays) for arrays in zip(*samples, strict=True))


def _fitted(
    specs: Sequence[InputSpec], item: Any, where: str, shaped: Callable[[Any], Any] = lambda array: array
) -> tuple[np.ndarray[Any, Any], ...]:
    """One array for each input, of its kind and sizes."""
    names = [spec.name for spec in specs]
    if isinstance(item, Mapping):
        missing = [name for name in names if name not in item]
        if missing:
            raise CalibrationError(f"quant_post_static: {where} has {sorted(item)}, and the program takes {names}")
        parts: Sequence[Any] = [item[name] for name in names]
    else:
        parts = item if isinstance(item, list) else [item]
    if len(parts) != len(specs):
        raise CalibrationError(
            f"quant_post_static: {where} has {len(parts)} arrays, and the program takes {len(specs)} inputs ({', '.join(names)}): "
            "leave out what is no input, such as labels"
        )
    return tuple(_input(spec, shaped(np.asarray(part)), where) for spec, part in zip(specs, parts, strict=True))


def _input(spec: InputSpec, array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
    wanted = np.dtype(str(spec.dtype).rpartition(".")[2])
    if array.dtype.kind not in ("fiu" if wanted.kind == "f" else wanted.kind + "iu" * (wanted.kind in "iu")):
        raise CalibrationError(f"quant_post_static: {where} has {array.dtype} for input {spec.name}, which takes {wanted}")
    sizes = [-1 if size is None else int(size) for size in spec.shape]
    if len(sizes) != array.ndim or any(size not in (-1, found) for size, found in zip(sizes, array.shape, strict=True)):
        raise CalibrationError(f"quant_post_static: {where} has shape {list(array.shape)} for input {spec.name}, which takes {sizes}")
    return np.ascontiguousarray(array, wanted)
