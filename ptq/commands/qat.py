"""The commands ``python -m ptq qat train | val | export``: quantization-aware training, as PaddleSeg has it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from ..export.formats import JIT
from ..trainer import evaluate, export, float_model, prepared_model, read_setup, train
from ..trainer.prepared import quantization_of
from .format_argument import ALL_FORMATS, formats
from .train_arguments import add_train_arguments, join_ranks, options_of, setup_of

__all__ = ["add_command"]


def add_command(commands: Any) -> None:
    """Adds ``qat`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "qat",
        help="quantization-aware training by a configuration file",
        description="Quantization-aware training by a configuration file with PaddleSeg's keys, its validation and export.",
    )
    parts = parser.add_subparsers(metavar="PART", required=True)
    _add_train(parts)
    _add_val(parts)
    _add_export(parts)


def _add_train(parts: Any) -> None:
    parser = parts.add_parser("train", help="train on the grids that the export will have")
    add_train_arguments(parser)
    parser.add_argument("--model_path", required=True, metavar="FILE", help="the float net's parameters, such as best_model/model.pdparams")
    parser.set_defaults(run=_train)


def _add_val(parts: Any) -> None:
    parser = parts.add_parser("val", help="mIoU, accuracy and IoU by class of a state")
    _add_state(parser)
    parser.add_argument("--batch_size", type=int, default=1, metavar="N", help="pictures at a time (default: %(default)s)")
    parser.set_defaults(run=_val)


def _add_export(parts: Any) -> None:
    parser = parts.add_parser("export", help="write a state as files that runtimes execute in int8")
    _add_state(parser)
    parser.add_argument("--save_dir", default="output", metavar="FOLDER", help="where to write model.* (default: %(default)s)")
    parser.add_argument("--with_softmax", action="store_true", help="the answer is probabilities")
    parser.add_argument("--without_argmax", action="store_true", help="the answer is logits; by default it is classes")
    parser.add_argument("--formats", type=formats, default=(JIT,), metavar="A,B", help=f"out of {', '.join(ALL_FORMATS)}")
    parser.add_argument("--float-baseline", action="store_true", help="also save the float net, as float_model, for ptq bench")
    parser.set_defaults(run=_export)


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="the configuration that it was trained with")
    parser.add_argument("--model_path", required=True, metavar="FILE", help="a state of qat train: best_model/model.pdparams or a folder")


def _train(options: argparse.Namespace) -> int:
    join_ranks()
    setup = setup_of(options)
    quantization = quantization_of(setup)
    net = float_model(setup, options.model_path)
    model = prepared_model(setup, net, trained=options.resume_model)
    train(setup, model, replace(options_of(options), freeze=quantization.freeze, distill=quantization.distill), teacher=net)
    return 0


def _val(options: argparse.Namespace) -> int:
    setup = read_setup(options.config)
    model = prepared_model(setup, setup.model(), trained=options.model_path)
    for line in evaluate(model, setup.val_dataset, setup.classes, options.batch_size, setup.ignore_index).lines():
        print(line)
    return 0


def _export(options: argparse.Namespace) -> int:
    export(
        read_setup(options.config),
        options.model_path,
        options.save_dir,
        with_softmax=options.with_softmax,
        without_argmax=options.without_argmax,
        formats=options.formats,
        float_baseline=options.float_baseline,
    )
    return 0
