"""The command ``python -m ptq ocr``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..ocr.demo import PICTURE, run_ocr

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Adds ``ocr`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "ocr",
        help="quantize PP-OCRv4 and read pictures with RapidOCR in float and int8",
        description="Quantizes the three models of PP-OCRv4 from their saved programs, and reads pictures with RapidOCR in float and int8.",
    )
    parser.add_argument(
        "--output", default="ocr-output", metavar="FOLDER", help="folder for the int8 models and a picture (default: %(default)s)"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    report = run_ocr(options.output)
    print(report.side_by_side())
    print(f"\n{report.table()}")
    print(f"\nmodels and {PICTURE} (float green, int8 red): {Path(options.output)}")
    return 0
