"""The one door through which tensors enter the numeric package: anything becomes a float32 NumPy array."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quantizers.errors import ShapeError, UnsupportedDtypeError

__all__ = ["FloatArray", "as_float_array"]

FloatArray = npt.NDArray[np.float32]

_DLPACK_DTYPES = ("float32", "float16", "float64")


def as_float_array(tensor: Any, *, where: str) -> FloatArray:
    """Return ``tensor`` as a float32 array that is only to be read.

    ``tensor`` is a Paddle tensor, a NumPy array, or nested Python floats, of any shape.  A float32 tensor on the CPU is
    viewed, not copied (through DLPack, which is a thousand times cheaper than ``Tensor.numpy``).  float16, bfloat16 and float64
    become float32: every grid of this project is float32, so nothing finer could be used.  A float64 value beyond the range
    of float32 becomes Inf, and is refused where non-finite values are.

    Raises ``UnsupportedDtypeError`` for anything but floating point and ``ShapeError`` for a tensor without elements; both
    name ``where``, the tensor's place in the model.
    """
    array = _to_numpy(tensor, where)
    if array.dtype.kind != "f":
        raise UnsupportedDtypeError(
            f"{where}: a tensor of dtype {array.dtype} cannot be quantized; pass a floating-point tensor "
            "or exclude the layer (layer.skip_quant = True)"
        )
    if array.size == 0:
        raise ShapeError(f"{where}: a tensor of shape {list(array.shape)} has no elements; drop empty batches before calibration")
    if array.dtype == np.float32:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _to_numpy(tensor: Any, where: str) -> npt.NDArray[Any]:
    if isinstance(tensor, np.ndarray):
        return tensor
    if hasattr(tensor, "detach") and hasattr(tensor, "numpy"):
        return _paddle_to_numpy(tensor)
    if isinstance(tensor, (bool, int, float, list, tuple, np.generic)):
        try:
            return np.asarray(tensor)
        except ValueError as error:
            raise ShapeError(f"{where}: the nested list is ragged and is not a tensor; pass rows of equal length") from error
    raise UnsupportedDtypeError(f"{where}: {type(tensor).__name__} is not a tensor; pass a Paddle tensor or a NumPy array")


def _paddle_to_numpy(tensor: Any) -> npt.NDArray[Any]:
    # DLPack refuses tensors that require a gradient, hence the detach.
    detached = tensor.detach()
    dtype = str(detached.dtype).rpartition(".")[2]
    place = getattr(detached, "place", None)
    on_cpu = place is not None and hasattr(place, "is_cpu_place") and place.is_cpu_place()
    if on_cpu and dtype in _DLPACK_DTYPES:
        return np.from_dlpack(detached)
    if dtype == "bfloat16":
        # NumPy has no bfloat16: ``numpy()`` would hand out the raw bits as uint16.
        detached = detached.astype("float32")
    return np.asarray(detached.numpy())
