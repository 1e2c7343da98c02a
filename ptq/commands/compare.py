"""The command ``python -m ptq compare A B --data DATA``."""

from __future__ import annotations

import argparse
from typing import Any

from ..data import open_data
from ..data.takes import with_shapes
from ..reports.compare import compare, open_saved
from .data_arguments import add_data_arguments, add_input_argument, data_options, recipe_of

__all__ = ["add_command"]

TOO_FAR = 1


def add_command(commands: Any) -> None:
    """Adds ``compare`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "compare",
        help="hold the answers of two saved models against each other, and their layers",
        description="Runs two saved models on the same data and tells how far their answers are apart, and where both can be opened as "
        "programs, layer by layer.  The exit status is 0, 1 where --min-sqnr is not reached, and 2 for an error.",
    )
    kinds = "a saved program, the prefix of a model that ptq saved, or an .onnx file"
    parser.add_argument("first", metavar="A", help=f"the reference, usually the float model: {kinds}")
    parser.add_argument("second", metavar="B", help="the other, usually the quantized one")
    parser.add_argument("--min-sqnr", type=float, metavar="DB", help="exit with status 1 where an output's SQNR is less than this")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    add_input_argument(parser)
    add_data_arguments(parser, "all, at most 256")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    first, second = open_saved(options.first), open_saved(options.second)
    takes = with_shapes(first.inputs, dict(options.input))
    data = open_data(options.data, takes, data_options(options, recipe_of(options, options.first)))
    report = compare(first, second, data)
    print(report)
    if options.json:
        report.to_json(options.json)
    return TOO_FAR if options.min_sqnr is not None and report.sqnr_db < options.min_sqnr else 0
