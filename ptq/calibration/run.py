"""`calibrate`: runs calibration data through a prepared model, and can go on after an interruption."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, QuantizationError

from ..util.messages import last_line, layer_that_raised
from ..util.modes import eval_mode
from ..util.progress import progress as progress_bar
from .batches import Call, call_of, digest, required_inputs
from .calibration import Calibration, check_calibrating, collect, install
from .file import Contents, Progress, as_path, read_contents, remove_leftovers, write_contents

__all__ = ["calibrate"]


def calibrate(
    model: nn.Layer,
    loader: Iterable[Any],
    max_batches: int | None = None,
    input_fn: Callable[[Any], Any] | None = None,
    progress: bool = True,
    resume: str | os.PathLike[str] | None = None,
) -> Calibration:
    """Runs batches through a model from `ImperativePTQ.quantize`, without gradients and in eval mode; modes are put back afterwards.

    Args:
        model: the prepared model, which collects statistics as it is called.
        loader: a `paddle.io.DataLoader` or any iterable of batches.  A tensor or NumPy array (float64 becomes float32) is the model's
            one input, a dict holds inputs by name, and of a tuple or list as many leading elements are inputs as ``forward`` has
            parameters without default, at least one (all for ``*args``): labels behind them are dropped.
        max_batches: stop after that many.
        input_fn: makes of a batch what to pass instead; all elements of a tuple or list that it returns are passed.
        progress: show a progress bar with the time left, where stderr is a terminal.
        resume: path of a file for the state after every batch.  When an interrupted calibration left one, its batches are skipped
            (they must be the same, in the same order) and the rest is run; the outcome is the same to the bit.  In the end the file is the
            finished calibration, which `Calibration.load` reads; with a finished one nothing is run, and ``loader`` is not looked at.

    Returns:
        What the model has seen, earlier calls included.

    Raises:
        ModelError: the model is not under calibration.
        ConfigError: an argument is out of range, or a quantizer's state cannot be stored for ``resume``.
        NoCalibrationDataError: the loader yields nothing.
        CalibrationError: a batch is of an unknown kind, or the model raises on it (the message names the batch and the layer), or the
            file of ``resume`` belongs to other data or another model.
        ArtifactError: the file of ``resume`` is damaged, or cannot be written.
        Whatever the loader or ``input_fn`` raise.
    """
    check_calibrating(model)
    _check_arguments(loader, max_batches, input_fn)
    checkpoint = None if resume is None else _Checkpoint(model, as_path(resume), max_batches)
    if checkpoint is not None and checkpoint.finished is not None:
        checkpoint.finished.put_into(model, same_settings=True)
        return checkpoint.finished
    inputs = None if input_fn is not None else required_inputs(model)
    batches = itertools.islice(loader, max_batches)
    count = 0
    with paddle.no_grad(), eval_mode(model):
        for batch in progress_bar(batches, _total(loader, max_batches), "calibrate", progress):
            call = call_of(batch if input_fn is None else input_fn(batch), inputs, f"batch {count}")
            if checkpoint is None:
                _run(model, call, count)
            else:
                checkpoint.run(call)
            count += 1
    if not count:
        raise NoCalibrationDataError("the loader yields no batch; check the data set and its batch size (drop_last)")
    if checkpoint is not None:
        return checkpoint.finish()
    return Calibration.of(model)


class _Checkpoint:
    """The file of ``resume``: which batches are done, and their statistics."""

    def __init__(self, model: nn.Layer, path: str, max_batches: int | None) -> None:
        self.model = model
        self.path = path
        self.observation, self.hook = check_calibrating(model)
        self.finished: Calibration | None = None
        self.stored: Contents | None = None
        self.expected: tuple[str, ...] = ()
        self.done: list[str] = []
        self.state = ""
        remove_leftovers(path)
        if os.path.lexists(path):
            self._read(max_batches)
        if self.finished is None and self.observation.batches:
            raise CalibrationError("resume needs a model that has seen no data yet; prepare the float model again with quantize")

    def run(self, call: Call) -> None:
        """The next batch: skipped when the file has it, else run and stored."""
        if len(self.done) < len(self.expected):
            self._skip(call)
            return
        found = digest(call)
        _run(self.model, call, len(self.done))
        self.done.append(found)
        contents, left_out = collect(self.model)
        if left_out:
            raise ConfigError(f"resume cannot store what the quantizers of {', '.join(left_out[:5])} collect; calibrate without resume")
        contents.progress = Progress(self._model_state(), tuple(self.done))
        write_contents(self.path, contents)

    def finish(self) -> Calibration:
        """Leaves the finished calibration in the file and returns it."""
        if len(self.done) < len(self.expected):
            raise CalibrationError(
                f"{self.path} has {len(self.expected)} batches, but the loader yields only {len(self.done)}: "
                "it is from other data; use the same data, or delete the file to start over"
            )
        calibration = Calibration.of(self.model)
        calibration.save(self.path)
        return calibration

    def _read(self, max_batches: int | None) -> None:
        contents = read_contents(self.path)
        if contents.progress is None:
            self.finished = Calibration(contents.layers, contents.input_spec)
            return
        self.stored, self.expected = contents, contents.progress.batches
        if max_batches is not None and len(self.expected) > max_batches:
            raise CalibrationError(
                f"{self.path} has {len(self.expected)} batches already, more than max_batches={max_batches}; raise it, or delete the file"
            )

    def _skip(self, call: Call) -> None:
        """Notes a batch that was done; the model is not run, only prepared by the first one."""
        index = len(self.done)
        found = digest(call)
        if found != self.expected[index]:
            raise CalibrationError(
                f"batch {index} is not the one that {self.path} was made with: other data, or another order; "
                "give the same batches (shuffle=False, or a fixed seed), or delete the file to start over"
            )
        self.hook(self.model, *call)
        self.done.append(found)
        if len(self.done) == len(self.expected):
            self._restore()

    def _restore(self) -> None:
        contents, self.stored = self.stored, None
        if contents is None or contents.progress is None:
            return
        if contents.progress.model != self._model_state():
            raise CalibrationError(f"{self.path} was made with other weights; use the same model, or delete the file to start over")
        install(self.model, contents.layers, same_settings=True)

    def _model_state(self) -> str:
        """A digest of weights and buffers, as they are once the first batch prepared the model."""
        if not self.state:
            self.state = digest(dict(self.model.state_dict()))
        return self.state


def _run(model: nn.Layer, call: Call, index: int) -> None:
    """One batch through the model; what Paddle or the user's code raise on it becomes an error that says where."""
    try:
        model(*call[0], **call[1])
    except QuantizationError:
        raise
    except Exception as error:
        tensors = [item for item in paddle.utils.flatten(call) if isinstance(item, paddle.Tensor)]
        given = ", ".join(f"{str(item.dtype).rpartition('.')[2]} {list(item.shape)}" for item in tensors) or "no tensor"
        layer = layer_that_raised(model, error)
        place = f"layer '{layer}'" if layer else type(model).__name__
        raise CalibrationError(
            f"batch {index} ({given}): {place} raises {type(error).__name__}: {last_line(error)}; "
            "check what the loader yields, or pass input_fn to make the model's arguments of it"
        ) from error


def _check_arguments(loader: Any, max_batches: Any, input_fn: Any) -> None:
    if max_batches is not None and (type(max_batches) is not int or max_batches < 1):
        raise ConfigError(f"max_batches must be a positive int or None, got {max_batches!r}")
    if input_fn is not None and not callable(input_fn):
        raise ConfigError(f"input_fn must be a function of one batch, got {input_fn!r}")
    if isinstance(loader, paddle.io.Dataset) and not isinstance(loader, paddle.io.IterableDataset):
        raise ConfigError("loader is a Dataset, whose samples have no batch dimension; pass paddle.io.DataLoader(dataset, batch_size=...)")
    if isinstance(loader, (paddle.Tensor, str, bytes)) or not (hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")):
        raise ConfigError(f"loader must be an iterable of batches, got {type(loader).__name__}; put a single batch into a list")


def _total(loader: Any, max_batches: int | None) -> int | None:
    try:
        total = len(loader)
    except (TypeError, ValueError, NotImplementedError, RuntimeError):
        return max_batches  # a stream, whose end is not known
    return total if max_batches is None else min(total, max_batches)
