"""Calibration by several processes of `paddle.distributed`, each on its share of the data."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.distributed
from paddle import nn

from quantizers.errors import CalibrationError, ConfigError, NoCalibrationDataError, QuantizationError

from .calibration import Calibration, check_calibrating, collect
from .file import from_bytes, to_bytes

__all__ = ["synchronize"]

_STATISTICS, _FAILURE = 0, 1


def synchronize(model: nn.Layer) -> Calibration:
    """Gathers what every process has seen, merges it, and puts the sum into each process's model.

    Call it on every rank, after calibration and before `convert`: all ranks then get the same thresholds, equal to those of one
    process that saw all the data.  A rank that saw no data takes part like the others.  Call it once: a second call would count
    all data again.  A process on its own is left as it is.

    Args:
        model: the rank's model from `ImperativePTQ.quantize`, prepared alike on all ranks.

    Returns:
        The merged calibration, equal on all ranks.

    Raises:
        ModelError: the model is not under calibration.
        NoCalibrationDataError: no rank saw data.
        CalibrationError: a rank's calibration cannot be used (the message has its error), or the ranks' models differ.
        ConfigError: there are several processes, but their communication was not initialised.
    """
    check_calibrating(model)
    if not paddle.distributed.is_initialized():
        if paddle.distributed.get_world_size() > 1:
            raise ConfigError("call paddle.distributed.init_parallel_env() before ptq.distributed.synchronize")
        return Calibration.of(model)
    payloads = _all_gather(_payload(model))
    failures = [f"rank {rank}: {part[1:].decode()}" for rank, part in enumerate(payloads) if part[0] == _FAILURE]
    if failures:
        raise CalibrationError(f"the calibration of {len(failures)} of {len(payloads)} ranks cannot be used: {'; '.join(failures)}")
    contents = [from_bytes(part[1:], f"the calibration of rank {rank}") for rank, part in enumerate(payloads)]
    merged = Calibration.merge(Calibration(part.layers, part.input_spec) for part in contents)
    if not merged.layers:
        raise NoCalibrationDataError(f"none of the {len(payloads)} ranks has seen calibration data")
    merged.put_into(model, same_settings=True)
    return merged


def _payload(model: nn.Layer) -> bytes:
    """This rank's calibration, or why there is none: a rank that raised on its own would leave the others waiting."""
    try:
        contents, left_out = collect(model)
        Calibration(contents.layers, contents.input_spec, left_out).check_complete("merged")
        return bytes([_STATISTICS]) + to_bytes(contents)
    except QuantizationError as error:
        return bytes([_FAILURE]) + str(error).encode("utf-8", "replace")


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
