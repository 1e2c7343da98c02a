"""One rank of a distributed training; started by `paddle.distributed.launch` with a configuration, a float state and a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
import paddle.distributed

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from ptq.trainer import TrainOptions, float_model, prepared_model, read_setup, train


def main(config: str, state: str, folder: str) -> None:
    """Trains a few steps and writes all tensors of this rank's model."""
    paddle.distributed.init_parallel_env()
    rank = paddle.distributed.get_rank()
    setup = read_setup(config).with_options(4, 2, 0.01, None)
    model = prepared_model(setup, float_model(setup, state))
    train(setup, model, TrainOptions(str(Path(folder, "out")), 2, do_eval=True), say=lambda _: None)
    np.savez(Path(folder, f"rank{rank}.npz"), **{name: tensor.numpy() for name, tensor in model.state_dict().items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
