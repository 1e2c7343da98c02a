"""Pictures of text, rendered with a font from the package registry: the same on every machine with the same Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantizers.errors import ConfigError

from ..util.extras import import_extra

__all__ = ["LINES", "pictures"]

LINES = 8  # on one picture
WIDTH = 640
FACE = "files/SourceSerifPro-Regular.ttf"
SMALLEST, LARGEST = 22, 36  # heights of letters
INKS = ((20, 20, 30), (120, 20, 20), (20, 50, 120), (15, 80, 40), (70, 60, 60))


def pictures(text: str, seed: int) -> list[np.ndarray[Any, Any]]:
    """The lines of a text, ``LINES`` on a picture, in sizes, colours and places that the seed decides.

    Args:
        text: lines; empty ones are left out.  Spaces are drawn twice as wide as the font has them.
        seed: of the choices and of the grain in the paper.

    Returns:
        uint8 arrays ``[height, width, 3]``, blue first as OpenCV has it.

    Raises:
        MissingExtraError: Pillow or the font is not installed.
        ConfigError: the text has no line.
    """
    lines = [line.replace(" ", 2 * " ") for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError("a text without lines makes no picture")
    random = np.random.default_rng(seed)
    return [_picture(lines[start : start + LINES], random) for start in range(0, len(lines), LINES)]


def _picture(lines: Sequence[str], random: np.random.Generator) -> np.ndarray[Any, Any]:
    image, draw, font = (import_extra(f"PIL.{name}", "ocr", "Pillow") for name in ("Image", "ImageDraw", "ImageFont"))
    face = str(Path(import_extra("font_source_serif_pro", "ocr", "font-source-serif-pro").__file__).parent / FACE)
    sizes = random.integers(SMALLEST, LARGEST + 1, len(lines))
    gaps = random.integers(14, 30, len(lines) + 1)
    canvas = image.fromarray(_paper(int(sum(sizes) * 1.3 + sum(gaps)), random))
    pen, top = draw.Draw(canvas), float(gaps[0])
    for line, size, gap in zip(lines, sizes.tolist(), gaps[1:].tolist(), strict=True):
        letters = font.truetype(face, size)
        left = random.uniform(16, max(17.0, WIDTH - 16 - letters.getlength(line)))
        pen.text((left, top), line, font=letters, fill=INKS[int(random.integers(len(INKS)))])
        top += size * 1.3 + gap
    return np.ascontiguousarray(np.asarray(canvas)[:, :, ::-1])


def _paper(height: int, random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Light, darker to one side, and with grain."""
    light = random.uniform(190, 245, 3)
    slope = np.linspace(0, random.uniform(-25, 25), WIDTH)[None, :, None]
    grain = random.normal(0, random.uniform(2, 8), (height, WIDTH, 1))
    return np.clip(light + slope + grain, 0, 255).astype(np.uint8)
