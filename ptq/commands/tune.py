"""The command ``python -m ptq tune PREFIX --float MODEL --data DATA --runtime RUNTIME``."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import Any

from quantizers.errors import ConfigError

from ..config.config import PTQConfig
from ..data import open_data
from ..export.formats import JIT
from ..export.manifest import read_manifest, verify_files
from ..programs import Program, load_program
from ..quantize_model import quantize_model
from ..tuning.conditions import RUNTIMES, Conditions, runtime_for
from .data_arguments import add_data_arguments, add_input_argument, data_options, recipe_of, takes_with
from .quantize import check_writable, specs_of
from .recovery_arguments import add_recovery_arguments, recovery_options

__all__ = ["add_command"]

# The format that each runtime is measured with.
NEEDED = {"onnxruntime": "onnx", "openvino": "openvino"}


def add_command(commands: Any) -> None:
    """Adds ``tune`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "tune",
        help="leave float what int8 makes slower in a runtime",
        description="Quantizes a model again with the settings of a saved int8 artifact, times float and int8 kernels in a runtime on this "
        "machine, leaves float what int8 makes slower there, and saves the fastest model that was measured.",
    )
    parser.add_argument("path", metavar="PREFIX", help="prefix of a quantized model, whose settings are taken")
    parser.add_argument("--float", dest="model", required=True, metavar="MODEL", help="the float program that it was made of")
    parser.add_argument("--runtime", required=True, choices=list(RUNTIMES), help="the runtime to be fast in")
    parser.add_argument("--out", metavar="PREFIX", help="where to save (default: fastest_NAME beside PREFIX)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], metavar="N", help="batch sizes that count (default: 1 8)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads to measure with (default: 1)")
    parser.add_argument("--precision", metavar="P", help="of what is float: f32 or, in OpenVINO, bf16 (default: the runtime's own)")
    parser.add_argument("--report", metavar="FILE", help="also write what was done to this JSON file")
    add_recovery_arguments(parser)
    add_input_argument(parser)
    add_data_arguments(parser, "all, at most 256")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    conditions = Conditions(tuple(options.batch), options.threads, options.precision)
    runtime_for(options.runtime, conditions)
    folder, name = os.path.split(options.path)
    out = options.out or os.path.join(folder, f"fastest_{name}")
    check_writable(out, options.report)
    config = _saved(options.path)
    program = load_program(options.model)
    if not isinstance(program, Program):
        raise ConfigError(f"{options.model} was opened as a {type(program).__name__}, which tells no inputs")
    takes = takes_with(options, program.input_spec)
    data = open_data(options.data, takes, data_options(options, recipe_of(options, options.model)))
    result = quantize_model(
        program,
        data,
        config,
        placement="fastest",
        target=options.runtime,
        input_spec=specs_of(takes) if options.input else None,
        tuning=conditions,
        **recovery_options(options),
    )
    report = replace(result.report, source=options.model)
    print("\n".join(report.lines(coverage=False)))
    result.save(out, (JIT, NEEDED[options.runtime]))
    if options.report:
        report.to_json(options.report)
    return 0


def _saved(path: str) -> PTQConfig | None:
    """The settings of a saved artifact, ``None`` where it does not tell.

    Raises:
        ArtifactError: there is none, or it was changed.
        ConfigError: its settings are those of a newer version.
    """
    manifest = read_manifest(path)
    verify_files(path, manifest)
    settings = manifest.get("config")
    return None if settings is None else PTQConfig.from_dict(settings)
