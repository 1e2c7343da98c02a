"""The formats that a converted model can be saved in: which files each has, what writes them and what checks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantizers.errors import ConfigError

from .inference.artifact import INFERENCE_FILES, check_inference, write_inference
from .jit.program import SUFFIXES
from .onnx.check import check_onnx
from .onnx.export import ONNX_SUFFIX
from .onnx.write import write_onnx
from .openvino.check import check_openvino
from .openvino.write import OPENVINO_SUFFIXES, simulated_beside, write_openvino
from .report import RuntimeReport

__all__ = ["ALL_SUFFIXES", "FORMATS", "JIT", "Format", "formats_named"]

Names = Mapping[str, str]
Texts = Mapping[str, str]
Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Format:
    """One format besides the portable one, from whose files at the same prefix it is made.

    ``write``: takes the prefix, the names of stored tensors and metadata; ``check``: takes the prefix, inputs, expected outputs,
    the names, and what becomes of a mismatch.
    """

    suffixes: tuple[str, ...]
    write: Callable[[str, Names, Texts], None]
    check: Callable[[str, Arrays, Arrays, Names, str], Sequence[RuntimeReport]]


def _write_onnx(prefix: str, names: Names, metadata: Texts) -> None:
    write_onnx(prefix, Path(prefix + ONNX_SUFFIX), simulated_beside(prefix), names, metadata)


def _check_onnx(prefix: str, inputs: Arrays, expected: Arrays, _names: Names, on_mismatch: str) -> Sequence[RuntimeReport]:
    return check_onnx(Path(prefix + ONNX_SUFFIX), inputs, expected, simulated_beside(prefix), on_mismatch=on_mismatch)


def _check_openvino(prefix: str, inputs: Arrays, expected: Arrays, _names: Names, on_mismatch: str) -> Sequence[RuntimeReport]:
    return check_openvino(prefix, inputs, expected, on_mismatch)


def _write_inference(prefix: str, names: Names, _metadata: Texts) -> None:
    write_inference(prefix, prefix, names)


JIT = "jit"
FORMATS = {
    "onnx": Format((ONNX_SUFFIX,), _write_onnx, _check_onnx),
    "inference": Format(INFERENCE_FILES, _write_inference, check_inference),
    "openvino": Format(OPENVINO_SUFFIXES, write_openvino, _check_openvino),
}
ALL_SUFFIXES = (*SUFFIXES, *(suffix for made in FORMATS.values() for suffix in made.suffixes))


def formats_named(names: Sequence[str]) -> dict[str, Format | None]:
    """The formats of those names, ``None`` for the portable one.

    Raises:
        ConfigError: a name is unknown or listed twice, or there is none.
    """
    known = (JIT, *FORMATS)
    if isinstance(names, str) or not isinstance(names, (list, tuple)) or not names:
        raise ConfigError(f"formats must be a list of names out of {', '.join(known)}, got {names!r}")
    wrong = [name for name in names if name not in known]
    if wrong or len(set(names)) != len(names):
        raise ConfigError(f"formats must name each of {', '.join(known)} at most once, got {list(names)}")
    return {name: FORMATS.get(name) for name in names}
