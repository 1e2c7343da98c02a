"""A model's scores on a validation set."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import paddle.distributed as dist
from paddle import nn

from quantizers.errors import CalibrationError

from ..training.ranks import rank, ranks
from ..util.modes import eval_mode
from ..util.progress import progress
from .datasets import Drawn
from .metrics import Confusion, Scores

__all__ = ["evaluate"]


def evaluate(model: nn.Layer, dataset: Any, classes: int, batch_size: int = 1, ignore_index: int = 255) -> Scores:
    """Runs all of a dataset through a model in eval mode; several ranks share the work.

    Args:
        model: gives logits ``[n, classes, ...]``, the first of several outputs counts.
        dataset: items are an input and its label.
        classes: how many.
        batch_size: items at a time; those of different sizes are run one by one.
        ignore_index: the label that does not count.

    Raises:
        CalibrationError: a label is none of the classes.
    """
    confusion = Confusion(classes, ignore_index)
    drawn = Drawn(dataset, 0)
    mine = range(rank(), len(dataset), ranks())
    starts = range(0, len(mine), batch_size)
    with paddle.no_grad(), eval_mode(model):
        for start in progress(starts, len(starts), "validate"):
            items = [drawn[(index, 0)] for index in mine[start : start + batch_size]]
            same = len({np.shape(item[0]) for item in items}) == 1
            for group in [items] if same else [[item] for item in items]:
                labels = np.stack([np.asarray(item[1], dtype=np.int64) for item in group])
                if labels.size and ((labels < 0) | ((labels >= classes) & (labels != ignore_index))).any():
                    raise CalibrationError(f"the validation set has labels beyond its {classes} classes: {np.unique(labels)[-5:].tolist()}")
                output = model(paddle.to_tensor(np.stack([item[0] for item in group])))
                logits = output[0] if isinstance(output, (list, tuple)) else output
                confusion.add(logits.argmax(1).numpy().reshape(labels.shape), labels)
    if ranks() > 1:
        counts = paddle.to_tensor(confusion.counts)
        dist.all_reduce(counts)
        confusion.counts = counts.numpy()
    return confusion.scores()
