"""Arguments of commands that quantize: widths, and what wins accuracy back."""

from __future__ import annotations

import argparse
from typing import Any

from ..recovery.recipes import RECIPES

__all__ = ["add_recovery_arguments", "recovery_options"]


def add_recovery_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them to a command's parser."""
    parser.add_argument(
        "--recipe",
        default="balanced",
        metavar="NAME",
        help=f"what wins accuracy back: {', '.join(RECIPES)}, a recipe's .json file, or none (default: balanced)",
    )
    parser.add_argument("--weight-bits", type=int, metavar="N", help="width of weights, 2 to 8")
    parser.add_argument("--activation-bits", type=int, metavar="N", help="width of activations, 4 to 16")
    parser.add_argument(
        "--max-float-macs", type=float, default=0.0, metavar="SHARE", help="share of multiply-accumulates that may stay float (default: 0)"
    )
    parser.add_argument("--time-budget", type=float, metavar="SECONDS", help="the recipe ends after so long, with the best it has by then")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice of the recipe (default: 0)")
    parser.add_argument("--resume", metavar="FILE", help="keeps the recipe's state there after every step, and goes on from it")


def recovery_options(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `quantize_model` that they stand for."""
    names = ("weight_bits", "activation_bits", "max_float_macs", "time_budget", "seed", "resume")
    return {"recipe": None if options.recipe == "none" else options.recipe, **{name: getattr(options, name) for name in names}}
