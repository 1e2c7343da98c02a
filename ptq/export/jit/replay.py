"""Answers with a saved model, in a process that never saw the original: ``python -m ptq.export.jit.replay PREFIX INPUTS OUTPUTS``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle

__all__ = ["read_tensors", "write_tensors"]


def write_tensors(path: Path, tensors: Sequence[paddle.Tensor]) -> None:
    """Writes tensors to an ``.npz`` file, bfloat16 as float32, with their dtypes."""
    dtypes = [str(tensor.dtype).removeprefix("paddle.") for tensor in tensors]
    arrays = {f"t{i}": (t.astype("float32") if t.dtype == paddle.bfloat16 else t).numpy() for i, t in enumerate(tensors)}
    np.savez(path, dtypes=np.array(json.dumps(dtypes)), **arrays)


def read_tensors(path: Path) -> list[paddle.Tensor]:
    """Reads what `write_tensors` wrote."""
    with np.load(path) as file:
        dtypes = json.loads(str(file["dtypes"]))
        return [paddle.to_tensor(file[f"t{i}"]).astype(dtype) for i, dtype in enumerate(dtypes)]


def main(prefix: str, inputs: str, outputs: str) -> None:
    """Loads, runs, writes the answers."""
    model = paddle.jit.load(prefix)
    model.eval()
    with paddle.no_grad():
        answer = model(*read_tensors(Path(inputs)))
    write_tensors(Path(outputs), [item for item in paddle.utils.flatten(answer) if isinstance(item, paddle.Tensor)])


if __name__ == "__main__":
    main(*sys.argv[1:])
