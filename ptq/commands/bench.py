"""The command ``python -m ptq bench PATH``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from quantizers.errors import ArtifactError, ConfigError

from ..bench.measure import BATCHES, ROUNDS, THREADS, bench
from ..bench.report import BenchReport
from ..bench.sequence import SequenceReport, bench_tokens

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Adds ``bench`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="measure a saved int8 model against its float baseline",
        description="Measures a saved int8 model against its float baseline in every installed runtime, and says why it is not faster.",
    )
    parser.add_argument("path", metavar="PATH", help="prefix of the quantized model, as given to save_quantized_model")
    parser.add_argument(
        "--float", dest="float_path", metavar="FLOAT_PATH", help="prefix of the float model (default: float_NAME beside it)"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCHES), metavar="N", help="batch sizes (default: 1 8)")
    parser.add_argument(
        "--threads", type=int, nargs="+", metavar="N", help=f"numbers of threads (default: those of {THREADS} that the machine has)"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="least number of rounds (default: %(default)s)")
    parser.add_argument(
        "--input-shape",
        type=_sizes,
        action="append",
        default=[],
        metavar="SIZES",
        help="sizes of an input behind the batch, as in 3,224,224; once for each input",
    )
    parser.add_argument(
        "--tokens",
        type=int,
        nargs="+",
        metavar="N",
        help="for models of sequences: tokens in a call, in the place of free sizes behind the batch; also prints tokens per second",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    parser.set_defaults(run=_run)


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of sizes such as 3,224,224") from error


def _run(options: argparse.Namespace) -> int:
    target = _writable(options.json)
    settings: dict[str, Any] = {"batches": options.batch, "threads": options.threads, "rounds": options.rounds}
    report: BenchReport | SequenceReport
    if options.tokens:
        if options.input_shape:
            raise ConfigError("--tokens and --input-shape both say sizes behind the batch: give one of them")
        report = bench_tokens(options.path, options.float_path, tokens=options.tokens, **settings)
    else:
        report = bench(options.path, options.float_path, input_shapes=options.input_shape, **settings)
    print(report.text())
    if target is not None:
        target.write_text(json.dumps(report.as_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0


def _writable(file: str | None) -> Path | None:
    """The file, once it is known that it can be written: measuring takes minutes."""
    if file is None:
        return None
    try:
        with open(file, "a", encoding="utf-8"):
            return Path(file)
    except OSError as error:
        raise ArtifactError(f"{file} cannot be written: {error}") from error
