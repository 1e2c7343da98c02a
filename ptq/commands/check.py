"""The command ``python -m ptq check MODEL``."""

from __future__ import annotations

import argparse
from typing import Any

from paddle.static import InputSpec

from quantizers.errors import ConfigError

from ..programs import Program, load_program
from ..registry import PTQRegistry
from ..reports.check import check
from ..util.json_file import write_json
from .data_arguments import add_input_argument, takes_with

__all__ = ["add_command"]

FOUND_ERRORS = 1


def add_command(commands: Any) -> None:
    """Adds ``check`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="look for what stands in the way of quantizing a saved Paddle model",
        description="Opens a saved Paddle model and looks for what would spoil or prevent its quantization; nothing is changed.  "
        "The exit status is 0, 1 where quantizing will fail, and 2 where the model cannot be opened.",
    )
    parser.add_argument("model", metavar="MODEL", help="a saved program: the prefix or path of a .json or .pdmodel file, or its folder")
    parser.add_argument("--json", metavar="FILE", help="also write the findings to this file")
    parser.add_argument("--layers", action="store_true", help="list the layers by name, as --float-layers of quantize takes them")
    add_input_argument(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    program = load_program(options.model)
    if not isinstance(program, Program):
        raise ConfigError(f"{options.model} was opened as a {type(program).__name__}, which tells no inputs")
    takes = takes_with(options, program.input_spec)
    for item in takes:
        print(f"input {item.name}: {item.shown}")
    if options.layers:
        for name, layer in program.named_sublayers():
            if PTQRegistry.is_supported_layer(layer):
                print(f"layer {name}: {layer}")
    report = check(program, [InputSpec([-1 if size is None else size for size in item.shape], item.dtype, item.name) for item in takes])
    print(report)
    if options.json:
        write_json(options.json, report.to_dict())
    return FOUND_ERRORS if report.errors else 0
