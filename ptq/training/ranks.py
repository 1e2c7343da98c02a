"""Several processes that train one model together keep the same ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import paddle.distributed as dist

__all__ = ["largest_on_all_ranks", "rank", "ranks", "same_on_all_ranks"]


def ranks() -> int:
    """How many processes train together; 1 where `paddle.distributed` was not set up."""
    return int(dist.get_world_size()) if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0 up."""
    return int(dist.get_rank()) if dist.is_initialized() else 0


def same_on_all_ranks(value: Any) -> npt.NDArray[np.float32]:
    """The value of the first rank, float32."""
    tensor = paddle.to_tensor(np.asarray(value, dtype=np.float32)).reshape([-1])
    if ranks() > 1:
        dist.broadcast(tensor, src=0)
    result: npt.NDArray[np.float32] = tensor.numpy().reshape(np.shape(value))
    return result


def largest_on_all_ranks(tensor: paddle.Tensor) -> paddle.Tensor:
    """Elementwise the largest of all ranks."""
    if ranks() > 1:
        tensor = tensor.reshape([-1])
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        tensor = tensor.reshape([]) if tensor.size == 1 else tensor
    return tensor
