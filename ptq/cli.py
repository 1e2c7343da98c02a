"""The command line: ``python -m ptq COMMAND``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from quantizers.errors import QuantizationError, QuantizationWarning

from . import __version__
from .commands import bench, check, compare, coverage, demo, ocr, qat, quantize, quantize_weights, report, train, tune

__all__ = ["main"]

COMMANDS = (quantize, quantize_weights, tune, train, qat, check, coverage, compare, report, bench, demo, ocr)
FAILED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    Args:
        argv: arguments after the program's name; those of the process when ``None``.

    Returns:
        The command's status, or 2 for an error of this project, which is printed as one line.
    """
    options = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="paddle")  # Paddle's advice to its own developers
        warnings.showwarning = _one_line(warnings.showwarning)
        try:
            return int(options.run(options))
        except QuantizationError as error:
            print(f"ptq: {' '.join(str(error).split())}", file=sys.stderr)
            return FAILED


def _one_line(show: Callable[..., None]) -> Callable[..., None]:
    """Shows warnings of this project as one line, without the line of code that gave them; others as before."""

    def shown(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, QuantizationWarning):
            print(f"ptq: warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            show(message, category, *place, **more)

    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ptq", description="Post-training quantization for PaddlePaddle.")
    parser.add_argument("--version", action="version", version=f"paddle-ptq {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_command(commands)
    return parser
