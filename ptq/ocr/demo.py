"""The demonstration: quantize PP-OCRv4, read the same pictures with RapidOCR in float and in int8, and say how alike that is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import ArtifactError

from ..util.extras import import_extra
from ..util.progress import progress
from .client import MODELS, Client, Line, float_files
from .compare import Agreement, agreement, pairs
from .pictures import pictures
from .quantize import Quantized, quantize
from .texts import CALIBRATION, COMPARISON

__all__ = ["PICTURE", "OcrReport", "run_ocr"]

PICTURE = "boxes.png"
FLOAT_COLOUR, INT8_COLOUR = (30, 140, 30), (200, 40, 40)
SEEDS = (1, 2)  # of the pictures that calibrate, and of those that are compared


@dataclass(frozen=True)
class OcrReport:
    """What was read.

    Attributes:
        models: what was written, by role.
        float_bytes: size of the float ONNX files, by role.
        agreement: how alike both readings of all pictures are.
        true_lines: rendered lines; right_float, right_int8: how many of them were read letter by letter.
        float_seconds, int8_seconds: time for all pictures; quantize_seconds: for making the models.
        pictures: number of compared pictures.
        exact: whether ONNX Runtime was told to sum exactly, as this processor needs.
        texts: what was read in float and in int8 at the same place; an empty text where one found nothing.
    """

    models: dict[str, Quantized]
    float_bytes: dict[str, int]
    agreement: Agreement
    true_lines: int
    right_float: int
    right_int8: int
    float_seconds: float
    int8_seconds: float
    quantize_seconds: float
    pictures: int
    exact: bool
    texts: tuple[tuple[str, str], ...]

    def side_by_side(self) -> str:
        """All lines, float left, int8 right; ``|`` marks where they differ."""
        width = max((len(text) for text, _ in self.texts), default=0)
        return "\n".join(f"{a:<{width}}  {' ' if a == b else '|'} {b}".rstrip() for a, b in self.texts)

    def table(self) -> str:
        """The figures."""
        rows = [("", "float", "int8", "")]
        for role, model in self.models.items():
            before, after = self.float_bytes[role] / 1e6, model.file.stat().st_size / 1e6
            remark = f"{model.float_share:.0%} of multiply-accumulates in float, {model.float_layers} layers" if model.float_layers else ""
            rows.append((f"size of {role}", f"{before:.2f} MB", f"{after:.2f} MB", remark))
        rows += [
            (f"time for {self.pictures} pictures", f"{self.float_seconds:.1f} s", f"{self.int8_seconds:.1f} s", _time_remark(self.exact)),
            ("lines found", str(self.agreement.first), str(self.agreement.second), f"boxes agree: F1 {self.agreement.box_f1:.1%}"),
            ("read as rendered", str(self.right_float), str(self.right_int8), f"of {self.true_lines} lines"),
            ("read alike", "", str(self.agreement.texts), f"{self.agreement.lines_alike:.1%} of the float lines"),
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows]
        return "\n".join([lines[0], "-" * (sum(widths) + 4), *lines[1:], f"quantizing took {self.quantize_seconds:.0f} s"])


def _time_remark(exact: bool) -> str:
    if exact:
        return "without int8 dot products in this processor: exact sums were asked for, which costs int8 speed"
    return "with the processor's int8 dot products"


def run_ocr(output: str | Path = "ocr-output", calibration: str = CALIBRATION, comparison: str = COMPARISON) -> OcrReport:
    """Quantizes the models of PP-OCRv4 and compares what RapidOCR reads with them and in float.

    Args:
        output: folder for the int8 models and a picture with both readings' boxes; made when it does not exist.
        calibration, comparison: the lines of text to render; none should be in both.

    Raises:
        MissingExtraError: the extra ``ocr`` is not installed, or cannot be: RapidOCR needs Python below 3.13.
        ArtifactError: the folder cannot be written.
    """
    reader = Client()
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{folder}: the output folder cannot be made: {error}") from error
    start = time.perf_counter()
    recorded = reader.inputs_of(pictures(calibration, SEEDS[0]))
    models = {role: quantize(role, recorded[role], folder) for role in MODELS}
    seconds = time.perf_counter() - start
    shown = pictures(comparison, SEEDS[1])
    int8_reader = Client({role: model.file for role, model in models.items()})
    # in turns, so that whatever else the machine does falls on both
    readings = [(reader.read(picture), int8_reader.read(picture)) for picture in progress(shown, description="read")]
    _draw(shown[0], *readings[0]).save(folder / PICTURE)
    lines = [line for line in comparison.splitlines() if line.strip()]
    return OcrReport(
        models,
        {role: file.stat().st_size for role, file in float_files().items()},
        sum((agreement(first, second) for first, second in readings), Agreement()),
        len(lines),
        _right(lines, [first for first, _ in readings]),
        _right(lines, [second for _, second in readings]),
        reader.seconds,
        int8_reader.seconds,
        seconds,
        len(shown),
        reader.exact,
        tuple(pair for first, second in readings for pair in _aligned(first, second)),
    )


def _right(lines: Sequence[str], readings: Sequence[Sequence[Line]]) -> int:
    read = {line.text for reading in readings for line in reading}
    return sum(line in read for line in lines)


def _aligned(first: Sequence[Line], second: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Texts of both readings in the order of the first, then what only the second has."""
    partner = {id(a): b for a, b in pairs(first, second)}
    for line in first:
        yield line.text, partner[id(line)].text if id(line) in partner else ""
    taken = {id(line) for line in partner.values()}
    yield from (("", line.text) for line in second if id(line) not in taken)


def _draw(picture: np.ndarray[Any, Any], first: Sequence[Line], second: Sequence[Line]) -> Any:
    """The picture with the boxes of the first reading in green and of the second in red."""
    image, draw = (import_extra(f"PIL.{name}", "ocr", "Pillow") for name in ("Image", "ImageDraw"))
    canvas = image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))
    pen = draw.Draw(canvas)
    for lines, colour, grow in ((first, FLOAT_COLOUR, 1), (second, INT8_COLOUR, -1)):
        for line in lines:
            middle = line.box.mean(0)
            pen.polygon([tuple(corner + grow * np.sign(corner - middle)) for corner in line.box], outline=colour)
    return canvas
