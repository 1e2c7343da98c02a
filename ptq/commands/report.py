"""The command ``python -m ptq report PREFIX --float MODEL --data DATA --out report.html``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from ..data import open_data
from ..data.takes import with_shapes
from ..reports.compare import open_saved
from ..reports.report import report
from .data_arguments import add_data_arguments, add_input_argument, data_options, recipe_of

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Adds ``report`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="say where a quantized model hurts, where it is slow, and what to do",
        description="Holds a quantized model against the float model that it was made of, layer by layer, and writes one HTML page, with a "
        "JSON file of everything beside it.  The page needs no network.",
    )
    parser.add_argument("prefix", metavar="PREFIX", help="of the quantized model, as in int8/model")
    parser.add_argument("--float", dest="float_path", required=True, metavar="MODEL", help="the saved program that it was made of")
    parser.add_argument("--out", default="report.html", metavar="FILE", help="the page to write (default: report.html)")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="also run both in ONNX Runtime and tell kernels and times per layer; needs PREFIX.onnx and MODEL.onnx",
    )
    parser.add_argument("--compare", metavar="JSON", help="the JSON of another report of the same net: the page shows what changed")
    parser.add_argument("--title", metavar="TEXT", help="of the page (default: the name of the quantized model)")
    add_input_argument(parser)
    add_data_arguments(parser, "all, at most 256")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    takes = with_shapes(open_saved(options.float_path).inputs, dict(options.input))
    data = open_data(options.data, takes, data_options(options, recipe_of(options, options.float_path)))
    made = report(
        options.prefix,
        data,
        float_model=options.float_path,
        path=options.out,
        profile=options.profile,
        compare=options.compare,
        title=options.title,
        reproduce=_command(options),
    )
    print(made)
    print(f"{options.out} and {Path(options.out).with_suffix('.json')} written")
    return 0


def _command(options: argparse.Namespace) -> str:
    """The command line that makes the same report."""
    words = ["python", "-m", "ptq", "report", options.prefix, "--float", options.float_path, "--data", options.data, "--out", options.out]
    for name in ("samples", "batch_size"):
        value = getattr(options, name)
        words += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    words += ["--profile"] if options.profile else []
    return shlex.join(words)
