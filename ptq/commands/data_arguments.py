"""The arguments that say where calibration data is and how pictures become inputs; several commands share them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data import DataOptions, Takes
from ..data.inference_yml import PictureRecipe, find_recipe, read_recipe
from ..data.preprocessing import Preprocessing
from ..data.takes import with_shapes

__all__ = ["add_data_arguments", "add_input_argument", "data_options", "recipe_of", "takes_with"]

PICTURES = ("size", "mean", "std", "scale", "bgr", "keep_ratio_pad")


def add_data_arguments(parser: argparse.ArgumentParser, samples: str) -> None:
    """Adds DATA and what belongs to it; ``samples``: what the default number of samples is, for the help."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="a folder of pictures; a .npy file, or a .npz file with an array for each input by name, samples along the first axis; "
        "or module:function, a function without arguments that yields batches",
    )
    data.add_argument("--samples", type=_positive, metavar="N", help=f"how many samples to take (default: {samples})")
    data.add_argument("--batch-size", type=_positive, metavar="N", help="samples at a time (default: 8, or what the model fixes)")
    pictures = parser.add_argument_group(
        "pictures", "how a picture becomes an input; what is left out is read from the model's inference.yml where one lies beside it"
    )
    pictures.add_argument("--size", type=_size, metavar="HxW", help="height x width to resize to, as in 80x160 (default: the model's)")
    pictures.add_argument("--mean", type=_numbers, metavar="A,B,C", help="subtracted after scaling (default: 0)")
    pictures.add_argument("--std", type=_numbers, metavar="A,B,C", help="divided by after that (default: 1)")
    pictures.add_argument(
        "--scale", type=_number, metavar="F", help="pixels from 0 to 255 are multiplied by this, as in 1/255, the default"
    )
    pictures.add_argument("--bgr", action="store_true", default=None, help="the model takes blue, green, red (default: red, green, blue)")
    pictures.add_argument(
        "--keep-ratio-pad", action="store_true", default=None, help="resize without distortion and fill up with zeros (default: stretch)"
    )
    pictures.add_argument("--no-recipe", action="store_true", help="leave the inference.yml beside the model alone")


def add_input_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--input NAME=SHAPE``."""
    parser.add_argument(
        "--input",
        type=_input,
        action="append",
        default=[],
        metavar="NAME=SHAPE",
        help="fixes free sizes of an input, as in x=-1,3,640,640, where -1 stays free; once for each input",
    )


def takes_with(options: argparse.Namespace, inputs: Sequence[Any]) -> list[Takes]:
    """What the model takes, with the sizes that ``--input`` fixes; ``inputs`` are `InputSpec`s."""
    return with_shapes([Takes.of(spec) for spec in inputs], dict(options.input))


def recipe_of(options: argparse.Namespace, model: str) -> PictureRecipe | None:
    """What a file beside the model says of preprocessing, where pictures are to be read and there is one."""
    if options.no_recipe or not os.path.isdir(options.data):
        return None
    folder = Path(model) if os.path.isdir(model) else Path(model).parent
    file = find_recipe(folder)
    return None if file is None else read_recipe(file)


def data_options(options: argparse.Namespace, recipe: PictureRecipe | None = None) -> DataOptions:
    """How to read the data: what the user gave, before what the recipe says."""
    given = {name: getattr(options, name) for name in PICTURES if getattr(options, name) is not None}
    steps = Preprocessing() if recipe is None else recipe.preprocessing
    if "size" in given:
        steps = replace(steps, short=None, limit=None)
    names = tuple(f"--{name.replace('_', '-')}" for name in given)
    return DataOptions(options.samples, options.batch_size, replace(steps, **given), names)


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return number


def _size(text: str) -> tuple[int, int]:
    height, separator, width = text.lower().partition("x")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is no height x width such as 80x160")
    return _positive(height), _positive(width)


def _number(text: str) -> float:
    above, slash, below = text.partition("/")
    try:
        number = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number such as 0.00392 or 1/255") from error
    if not abs(number) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number")
    return number


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_number(part) for part in text.split(","))


def _input(text: str) -> tuple[str, tuple[int | None, ...]]:
    name, equals, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no input such as x=-1,3,640,640") from error
    if not (name and equals) or any(size < 1 and size != -1 for size in shape):
        raise argparse.ArgumentTypeError(f"{text!r} is no input such as x=-1,3,640,640")
    return name, tuple(None if size == -1 else size for size in shape)
