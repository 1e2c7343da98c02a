"""Calibration by several processes of `paddle.distributed`, each on its share of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import paddle
import paddle.distributed
from paddle import nn

from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, QuantizationError

from ..util.messages import last_line
from .calibration import Calibration, check_calibrating, collect
from .file import from_bytes, to_bytes

__all__ = ["synchronize"]

_RESULT, _FAILURE = 0, 1


def synchronize(model: nn.Layer) -> Calibration:
    """Gathers what every process has seen, merges it, and puts the sum into each process's model.

    Call it on every rank, after calibration and before `convert`: all ranks then get the same thresholds, equal to those of one
    process that saw all the data.  A rank that saw no data takes part like the others.  Call it once: a second call would count
    all data again.  A process on its own is left as it is.

    When a rank fails in here, whatever it raises, all ranks learn of it and raise; none is left waiting.  A rank that never calls
    this function cannot tell the others: they wait until its process ends.  After an error, calibrate anew: some ranks may hold the
    sum already.

    Args:
        model: the rank's model from `ImperativePTQ.quantize`, prepared alike on all ranks.

    Returns:
        The merged calibration, equal on all ranks.

    Raises:
        CalibrationError: some ranks failed: the message names each with its error, such as a calibration that cannot be used, or a
            model that is not under calibration or differs from the others'.
        ModelError, NoCalibrationDataError, CalibrationError, ConfigError: all ranks failed in the same way: the model is not under
            calibration, no rank saw data, or the ranks' calibrations cannot be merged.
        ConfigError: there are several processes, but their communication was not initialised.
    """
    if not paddle.distributed.is_initialized():
        check_calibrating(model)
        if paddle.distributed.get_world_size() > 1:
            raise ConfigError("call paddle.distributed.init_parallel_env() before ptq.distributed.synchronize")
        return Calibration.of(model)
    payloads = _together(lambda: _payload(model), "the calibration of {} ranks cannot be used")
    found: list[Calibration] = []
    _together(lambda: _adopt(model, payloads, found), "the merged calibration cannot be used on {} ranks")
    return found[0]


def _payload(model: nn.Layer) -> bytes:
    """This rank's calibration."""
    contents, left_out = collect(model)
    Calibration(contents.layers, contents.input_spec, left_out).check_complete("merged")
    return to_bytes(contents)


def _adopt(model: nn.Layer, payloads: Sequence[bytes], found: list[Calibration]) -> bytes:
    """Merges all ranks' calibrations, puts the sum into this rank's model and appends it to ``found``."""
    contents = [from_bytes(part, f"the calibration of rank {rank}") for rank, part in enumerate(payloads)]
    merged = Calibration.merge(Calibration(part.layers, part.input_spec) for part in contents)
    if not merged.layers:
        raise NoCalibrationDataError(f"none of the {len(payloads)} ranks has seen calibration data")
    merged.put_into(model, same_settings=True)
    found.append(merged)
    return b""


def _together(step: Callable[[], bytes], message: str) -> list[bytes]:
    """Does the same step on all ranks and gathers its results, in the order of ranks; where it raises on one, all raise ``message``.

    Raises:
        CalibrationError: the step failed on some ranks; the message says on which, and why.
        Whatever the step raised, where all ranks failed alike.
    """
    failure: Exception | None = None
    try:
        payload = bytes([_RESULT]) + step()
    except Exception as error:  # whatever it is: a rank that raised before the gathering would leave the others waiting
        failure, payload = error, bytes([_FAILURE]) + _text(error).encode("utf-8", "replace")
    payloads = _all_gather(payload)
    failures = {rank: part[1:].decode() for rank, part in enumerate(payloads) if part[0] == _FAILURE}
    if failure is not None and len(failures) == len(payloads) and len(set(failures.values())) == 1:
        raise failure
    if failures:
        listed = "; ".join(f"rank {rank}: {text}" for rank, text in failures.items())
        raise CalibrationError(f"{message.format(f'{len(failures)} of {len(payloads)}')}: {listed}") from failure
    return [part[1:] for part in payloads]


def _text(error: Exception) -> str:
    """What other ranks are told of an error; the class says nothing more where the error is one of ours."""
    return str(error) if isinstance(error, QuantizationError) else f"{type(error).__name__}: {last_line(error)}"


def _all_gather(payload: bytes) -> list[bytes]:
    """The payloads of all ranks, in their order; as plain bytes, since Paddle's own gathering of objects unpickles what it receives."""
    sizes: list[paddle.Tensor] = []
    paddle.distributed.all_gather(sizes, paddle.to_tensor([len(payload)], dtype="int64"))
    lengths = [int(size.numpy()[0]) for size in sizes]
    padded = np.zeros(max(lengths), dtype=np.uint8)
    padded[: len(payload)] = np.frombuffer(payload, dtype=np.uint8)
    parts: list[paddle.Tensor] = []
    paddle.distributed.all_gather(parts, paddle.to_tensor(padded))
    return [part.numpy()[:length].tobytes() for part, length in zip(parts, lengths, strict=True)]
