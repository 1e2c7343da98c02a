"""In which order a training sees its data: decided by the seed and the iteration alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from paddle.io import BatchSampler, DataLoader

from ..training.ranks import rank, ranks
from .datasets import Drawn

__all__ = ["batches_from"]


class _Order(BatchSampler):  # type: ignore[misc]
    """Batches of ``(index, draw)`` of this rank, from one iteration to another."""

    def __init__(self, size: int, batch: int, seed: int, first: int, last: int) -> None:
        self.size, self.batch_size, self.seed, self.first, self.last = size, batch, seed, first, last

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        everyone = self.batch_size * ranks()
        known: dict[int, np.ndarray] = {}
        for iteration in range(self.first, self.last):
            start = iteration * everyone + rank() * self.batch_size
            chosen = []
            for position in range(start, start + self.batch_size):
                draw, place = divmod(position, self.size)
                if draw not in known:
                    known = {
                        draw: np.random.default_rng((self.seed, draw)).permutation(self.size),
                        **{k: v for k, v in known.items() if k >= draw - 1},
                    }
                chosen.append((int(known[draw][place]), draw))
            yield chosen

    def __len__(self) -> int:
        return self.last - self.first


def batches_from(dataset: Any, batch: int, seed: int, first: int, last: int, workers: int) -> Iterator[list[Any]]:
    """The batches of iterations ``first`` to ``last - 1`` of this rank, each ``[inputs, labels]`` as tensors."""
    loader = DataLoader(
        Drawn(dataset, seed), batch_sampler=_Order(len(dataset), batch, seed, first, last), num_workers=workers, return_list=True
    )
    return iter(loader)
