"""The command ``python -m ptq quantize MODEL --data DATA --out PREFIX``."""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paddle.static import InputSpec

from quantizers.errors import ArtifactError, ConfigError

from ..config.config import PLACEMENTS, TARGET_NAMES, PTQConfig
from ..data import Takes, open_data
from ..export.formats import JIT
from ..export.metadata import checked_metadata
from ..programs import Program, load_program
from ..quantize_model import quantize_model
from .data_arguments import add_data_arguments, add_input_argument, data_options, recipe_of, takes_with
from .format_argument import ALL_FORMATS, formats
from .recovery_arguments import add_recovery_arguments, recovery_options

__all__ = ["add_command", "check_writable", "specs_of"]

EPILOG = """examples:
  python -m ptq quantize inference/model --data pictures --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --out int8/model
  python -m ptq quantize inference --data calibration.npz --formats jit,onnx --placement full --out int8/model
  python -m ptq quantize inference/model --data my_data:batches --samples 128 --float-layers "head.*" --out int8/model
"""


def add_command(commands: Any) -> None:
    """Adds ``quantize`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "quantize",
        help="quantize a saved Paddle model with calibration data",
        description="Quantizes a saved Paddle model to int8: runs samples of your data through it to learn the ranges of its tensors, and "
        "saves the result, checked in a fresh process.  No Python class of the model is needed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a saved program: the prefix or path of a .json or .pdmodel file, or its folder")
    parser.add_argument("--out", required=True, metavar="PREFIX", help="where to save: the beginning of the files' names, as in int8/model")
    parser.add_argument(
        "--formats",
        type=formats,
        default=(JIT,),
        metavar="A,B",
        help=f"out of {', '.join(ALL_FORMATS)}: the portable program, int8 for ONNX Runtime and OpenVINO, int8 for "
        "Paddle Inference, that of onnx in OpenVINO's own format "
        f"(default: {JIT})",
    )
    parser.add_argument(
        "--placement",
        choices=PLACEMENTS,
        help="compute: weights and inputs of compute layers (default); full: all that makes int8 fast; fastest: full without what int8 "
        "makes slower, as measured in the runtime of --target",
    )
    parser.add_argument(
        "--target",
        choices=TARGET_NAMES,
        help="with --placement full or fastest: grids for any runtime, in one file (default), or only those that this one needs",
    )
    add_recovery_arguments(parser)
    parser.add_argument("--config", metavar="FILE", help="settings as PTQConfig.to_json writes them")
    parser.add_argument(
        "--float-layers",
        action="append",
        default=[],
        metavar="PATTERN",
        help="layers that stay float: a name, a glob such as 'head.*', or re:EXPRESSION; may be given several times",
    )
    parser.add_argument(
        "--metadata", type=_metadata, action="append", default=[], metavar="NAME=FILE", help="a text file to keep in the ONNX file"
    )
    parser.add_argument("--float-baseline", action="store_true", help="also save the float model, as float_NAME, for ptq bench")
    parser.add_argument("--report", metavar="FILE", help="also write what was done to this JSON file")
    add_input_argument(parser)
    add_data_arguments(parser, "all, at most 256")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    config = _config(options)
    check_writable(options.out, options.report)
    program = load_program(options.model)
    if not isinstance(program, Program):
        raise ConfigError(f"{options.model} was opened as a {type(program).__name__}, which tells no inputs")
    recipe = recipe_of(options, options.model)
    metadata = _texts(options.metadata)
    if recipe is not None:
        print(f"pictures are prepared as {recipe.file} says")
        if recipe.characters and "onnx" in options.formats:
            metadata.setdefault("character", "\n".join(recipe.characters))
    checked_metadata(metadata, options.formats)
    takes = takes_with(options, program.input_spec)
    data = open_data(options.data, takes, data_options(options, recipe))
    result = quantize_model(
        program,
        data,
        config,
        placement=options.placement,
        target=options.target,
        input_spec=specs_of(takes) if options.input else None,
        **recovery_options(options),
    )
    report = replace(result.report, source=options.model)
    print("\n".join(report.lines(coverage=False)))
    result.save(options.out, options.formats, metadata=metadata or None, float_baseline=options.float_baseline)
    if options.report:
        report.to_json(options.report)
    return 0


def _config(options: argparse.Namespace) -> PTQConfig | None:
    if options.config is None and not options.float_layers:
        return None
    config = PTQConfig() if options.config is None else PTQConfig.from_json(options.config)
    overrides = {**config.overrides, **dict.fromkeys(options.float_layers)}
    found = copy.deepcopy(config)
    found.overrides = overrides
    return found


def specs_of(takes: Sequence[Takes]) -> list[InputSpec]:
    """What the model is saved with."""
    return [InputSpec([-1 if size is None else size for size in item.shape], item.dtype, item.name) for item in takes]


def check_writable(prefix: str, report: str | None) -> None:
    """Before minutes of work: raises ``ArtifactError`` unless the folders can be written to, or made."""
    if os.path.basename(prefix) in ("", ".", "..") or "\0" in prefix:
        raise ArtifactError(f"--out {prefix!r} is no prefix of files; name one such as int8/model")
    for path in [prefix, *([report] if report else [])]:
        folder = Path(path).absolute().parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise ArtifactError(f"{path} cannot be written: {folder} is {'not writable' if folder.is_dir() else 'no folder'}")


def _metadata(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=FILE such as character=keys.txt")
    return name, file


def _texts(files: Sequence[tuple[str, str]]) -> dict[str, str]:
    found = {}
    for name, file in files:
        try:
            found[name] = Path(file).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{file} cannot be read as text: {error}") from error
    return found
