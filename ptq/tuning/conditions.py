"""What is compared: the runtime, batch sizes, threads and the precision of what is float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantizers.errors import ConfigError

from ..export.onnx.export import ONNX_SUFFIX
from ..export.openvino.write import OPENVINO_SUFFIXES
from ..runtimes import onnxruntime, openvino
from ..runtimes.profile import NodeTime, Run
from ..util.extras import import_extra

__all__ = ["RUNTIMES", "Conditions", "Runtime", "runtime_for"]

FLOAT32 = "f32"


@dataclass(frozen=True)
class Runtime:
    """A runtime that can be tuned for.

    Attributes:
        title: what tables call it.
        module, extra: what is imported, and the extra that installs it.
        suffix: of the file that it runs.
        load: opens a file, given inputs, threads and precision.
        node_times: profiles it, given the same.
        precision: what it computes float layers in by itself.
    """

    title: str
    module: str
    extra: str
    suffix: str
    load: Callable[[str, Sequence[np.ndarray], int, str], Run]
    node_times: Callable[[str, Sequence[np.ndarray], int, str], list[NodeTime]]
    precision: Callable[[], str] = lambda: FLOAT32

    def check(self) -> None:
        """Raises ``MissingExtraError`` where it is not installed."""
        import_extra(self.module, self.extra)


def _hint(precision: str) -> Mapping[str, str]:
    return {openvino.PRECISION: precision}


RUNTIMES: Mapping[str, Runtime] = {
    "onnxruntime": Runtime(
        onnxruntime.ONNX_RUNTIME,
        "onnxruntime",
        "onnx",
        ONNX_SUFFIX,
        lambda file, feeds, threads, _: onnxruntime.load(file, feeds, threads),
        lambda file, feeds, threads, _: onnxruntime.node_times(file, feeds, threads),
    ),
    "openvino": Runtime(
        openvino.OWN_FILE,
        "openvino",
        "openvino",
        OPENVINO_SUFFIXES[0],
        lambda file, feeds, threads, precision: openvino.load(file, feeds, threads, _hint(precision)),
        lambda file, feeds, threads, precision: openvino.node_times(file, feeds, threads, _hint(precision)),
        openvino.default_precision,
    ),
}


@dataclass(frozen=True)
class Conditions:
    """What the time of a model depends on.

    Attributes:
        batches: batch sizes, all of which count alike; of a model that takes one size only, that one counts.
        threads: to compute with.
        precision: of what is float: ``"f32"``, or in OpenVINO also ``"bf16"``; what the runtime itself chooses here when ``None``.
        rounds: the alternatives are timed in turn at least so often.

    Raises:
        ConfigError: a value is out of its range.
    """

    batches: tuple[int, ...] = (1, 8)
    threads: int = 1
    precision: str | None = None
    rounds: int = 15

    def __post_init__(self) -> None:
        sizes = self.batches
        if not isinstance(sizes, (tuple, list)) or not sizes or any(type(size) is not int or size < 1 for size in sizes):
            raise ConfigError(f"batches must be a list of whole numbers of at least 1, got {sizes!r}")
        object.__setattr__(self, "batches", tuple(dict.fromkeys(sizes)))
        for name in ("threads", "rounds"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.precision not in (None, FLOAT32, "bf16"):
            raise ConfigError(f"precision must be 'f32', 'bf16' or None, got {self.precision!r}")


def runtime_for(target: str, conditions: Conditions) -> tuple[str, str]:
    """The name in `RUNTIMES` of the runtime that is measured for a target, and the precision of float layers in it.

    Raises:
        ConfigError: the target's runtime cannot be measured layer by layer, or lacks the precision.
        MissingExtraError: it is not installed.
    """
    name = "onnxruntime" if target == "any" else target
    if name not in RUNTIMES:
        raise ConfigError(f"placement 'fastest' measures in {' or '.join(RUNTIMES)}, not in {target!r}: choose one of them as target")
    runtime = RUNTIMES[name]
    runtime.check()
    if name == "onnxruntime" and conditions.precision not in (None, FLOAT32):
        raise ConfigError(f"{runtime.title} computes float layers in f32 only, got precision={conditions.precision!r}")
    return name, runtime.precision() if conditions.precision is None else conditions.precision
