"""Arguments that all commands of training take."""

from __future__ import annotations

import argparse
import os

import paddle.distributed as dist

from ..trainer import Setup, TrainOptions, read_setup

__all__ = ["add_train_arguments", "join_ranks", "options_of", "setup_of"]


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """What PaddleSeg's ``train.py`` takes."""
    parser.add_argument("--config", required=True, metavar="FILE", help="the configuration, YAML with PaddleSeg's keys")
    parser.add_argument("--iters", type=int, metavar="N", help="iterations, instead of the configuration's")
    parser.add_argument("--batch_size", type=int, metavar="N", help="pictures of a step on each process, instead of the configuration's")
    parser.add_argument("--learning_rate", type=float, metavar="RATE", help="instead of the configuration's")
    parser.add_argument("--save_dir", default="output", metavar="FOLDER", help="where states are kept (default: %(default)s)")
    parser.add_argument(
        "--save_interval",
        "--save_interval_iters",
        dest="save_interval",
        type=_positive,
        default=1000,
        metavar="N",
        help="iterations between states (default: %(default)s)",
    )
    parser.add_argument("--log_iters", type=_positive, default=10, metavar="N", help="iterations between log lines (default: %(default)s)")
    parser.add_argument("--num_workers", type=int, default=0, metavar="N", help="processes that read data (default: %(default)s)")
    parser.add_argument("--do_eval", action="store_true", help="validate at every state, and keep the best in best_model")
    parser.add_argument("--use_vdl", action="store_true", help="write a log for VisualDL")
    parser.add_argument("--resume_model", metavar="FOLDER", help="an iter_N folder to go on from")
    parser.add_argument("--seed", type=int, metavar="N", help="of all that is random")


def setup_of(options: argparse.Namespace) -> Setup:
    """The configuration with what the command line says instead."""
    return read_setup(options.config).with_options(options.iters, options.batch_size, options.learning_rate, options.seed)


def options_of(options: argparse.Namespace) -> TrainOptions:
    """How to run the training."""
    return TrainOptions(
        save_dir=options.save_dir,
        save_interval=options.save_interval,
        log_iters=options.log_iters,
        do_eval=options.do_eval,
        resume=options.resume_model,
        num_workers=options.num_workers,
        use_vdl=options.use_vdl,
    )


def join_ranks() -> None:
    """Joins the other processes of ``paddle.distributed.launch``, if there are any."""
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1 and not dist.is_initialized():
        dist.init_parallel_env()


def _positive(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return value
