"""The command ``python -m ptq coverage PREFIX``."""

from __future__ import annotations

import argparse
from typing import Any

from ..export.save import LEDGER_SUFFIX
from ..reports.coverage import Ledger

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Adds ``coverage`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "coverage",
        help="tell which operations of a quantized model are int8, and why the others are not",
        description="Prints what became of every operation of a quantized model when it was saved: int8 or float, and why.",
    )
    parser.add_argument("prefix", metavar="PREFIX", help=f"of the quantized model, as in int8/model; reads PREFIX{LEDGER_SUFFIX}")
    parser.add_argument("--full", action="store_true", help="a line for every operation, rather than totals")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    ledger = Ledger.from_json(options.prefix.removesuffix(LEDGER_SUFFIX) + LEDGER_SUFFIX)
    print("\n".join(ledger.lines(options.full)))
    return 0
