"""The file of ``calibrate(resume=...)``: which batches are done, and their statistics."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import TracebackType

from paddle import nn

from quantizers.errors import CalibrationError, ConfigError, QuantizationError

from .batches import Call, digest
from .calibration import Calibration, check_calibrating, collect, install
from .file import Contents, Progress, read_contents, remove_leftovers, write_contents
from .pace import WritePace

__all__ = ["Checkpoint"]


class Checkpoint:
    """Skips the batches that the file has and stores the others, now and then and when the loop around them raises.

    Enter it around the loop.  What the model has seen can be stored between batches only: one that raises leaves some layers with
    its statistics and others without.

    Attributes:
        finished: the calibration in the file, where that is a finished one.

    Args:
        model: under calibration.
        path: of the file.
        max_batches: how many batches will be looked at, ``None`` for all.

    Raises:
        CalibrationError: the model has seen data already, or the file has more than ``max_batches``.
        ArtifactError: the file cannot be read.
    """

    def __init__(self, model: nn.Layer, path: str, max_batches: int | None) -> None:
        self.model = model
        self.path = path
        self.finished: Calibration | None = None
        self._seen, self._hook = check_calibrating(model)
        self._stored: Contents | None = None
        self._expected: tuple[str, ...] = ()
        self._done: list[str] = []
        self._is_between_batches = True
        self._is_written = True
        self._state = ""
        self._pace = WritePace()
        remove_leftovers(path)
        if os.path.lexists(path):
            self._read(max_batches)
        if self.finished is None and self._seen.batches:
            raise CalibrationError("resume needs a model that has seen no data yet; prepare the float model again with quantize")

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stores what is done when the loop raises."""
        if error is not None and self._is_between_batches and not self._is_written:
            with contextlib.suppress(QuantizationError):  # the loop's own error is what the user must see; an older state stays
                self._write()

    def skips(self, call: Call) -> bool:
        """Whether the file has the next batch; the model is not run then, only prepared by the first one.

        Raises:
            CalibrationError: the file has another batch in this place, or was made with other weights.
        """
        index = len(self._done)
        if index >= len(self._expected):
            return False
        found = digest(call)
        if found != self._expected[index]:
            raise CalibrationError(
                f"batch {index} is not the one that {self.path} was made with: other data, or another order; "
                "give the same batches (shuffle=False, or a fixed seed), or delete the file to start over"
            )
        self._hook(self.model, *call)
        self._done.append(found)
        if len(self._done) == len(self._expected):
            self._restore()
        return True

    @contextlib.contextmanager
    def batch(self, call: Call) -> Iterator[None]:
        """Enter it to run the next batch, which is stored if it is time to.

        Raises:
            ConfigError: a quantizer's state cannot be stored.
            ArtifactError: the file cannot be written.
        """
        found = digest(call)  # before the model can change the batch
        self._is_between_batches = False
        yield
        self._done.append(found)
        self._is_between_batches, self._is_written = True, False
        if self._pace.is_due():
            self._write()

    def finish(self) -> Calibration:
        """Leaves the finished calibration in the file and returns it.

        Raises:
            CalibrationError: the file has more batches than there were.
            ArtifactError: the file cannot be written.
        """
        if len(self._done) < len(self._expected):
            raise CalibrationError(
                f"{self.path} has {len(self._expected)} batches, but the loader yields only {len(self._done)}: "
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
        self._stored, self._expected = contents, contents.progress.batches
        if max_batches is not None and len(self._expected) > max_batches:
            raise CalibrationError(
                f"{self.path} has {len(self._expected)} batches already, more than max_batches={max_batches}; raise it, or delete the file"
            )

    def _restore(self) -> None:
        contents, self._stored = self._stored, None
        if contents is None or contents.progress is None:
            return
        if contents.progress.model != self._model_state():
            raise CalibrationError(f"{self.path} was made with other weights; use the same model, or delete the file to start over")
        install(self.model, contents.layers, same_settings=True)

    def _write(self) -> None:
        progress = Progress(self._model_state(), tuple(self._done))
        with self._pace.writing():
            contents, left_out = collect(self.model)
            if left_out:
                raise ConfigError(f"resume cannot store what the quantizers of {', '.join(left_out[:5])} collect; calibrate without resume")
            contents.progress = progress
            write_contents(self.path, contents)
        self._is_written = True

    def _model_state(self) -> str:
        """A digest of weights and buffers, as they are once the first batch prepared the model."""
        if not self._state:
            self._state = digest(dict(self.model.state_dict()))
        return self._state
