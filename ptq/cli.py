"""The command line: ``python -m ptq COMMAND``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from quantizers.errors import QuantizationError

from . import __version__
from .commands import bench, demo

__all__ = ["main"]

COMMANDS = (bench, demo)
FAILED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    Args:
        argv: arguments after the program's name; those of the process when ``None``.

    Returns:
        The command's status, or 2 for an error of this project, which is printed as one line.
    """
    options = _parser().parse_args(argv)
    warnings.filterwarnings("ignore", category=UserWarning, module="paddle")  # Paddle's advice to its own developers
    try:
        return int(options.run(options))
    except QuantizationError as error:
        print(f"ptq: {' '.join(str(error).split())}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ptq", description="Post-training quantization for PaddlePaddle.")
    parser.add_argument("--version", action="version", version=f"paddle-ptq {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_command(commands)
    return parser
