"""The command ``python -m ptq train --config FILE``: float training, as PaddleSeg has it."""

from __future__ import annotations

import argparse
from typing import Any

from ..trainer import float_model, train
from .train_arguments import add_train_arguments, join_ranks, options_of, setup_of

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Adds ``train`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train a float net by a configuration file",
        description="Trains a float net by a configuration file with PaddleSeg's keys.  States lie in FOLDER/iter_N, the best in "
        "FOLDER/best_model/model.pdparams; qat train goes on from there.",
    )
    add_train_arguments(parser)
    parser.add_argument("--model_path", metavar="FILE", help="parameters to start from")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    join_ranks()
    setup = setup_of(options)
    train(setup, float_model(setup, options.model_path), options_of(options))
    return 0
