"""Everything that a failed call must leave as it was."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ptq.graph import interception

__all__ = ["Snapshot", "differences", "snapshot"]

FLAGS = ["FLAGS_enable_pir_api", "FLAGS_enable_pir_in_executor", "FLAGS_check_nan_inf", "FLAGS_use_onednn", "FLAGS_prim_enable_dynamic"]
Snapshot = dict[str, Any]


def snapshot(folder: Path, models: list[nn.Layer]) -> Snapshot:
    """The files below a folder, the models, and the process's own settings, each under a name."""
    is_dynamic = paddle.in_dynamic_mode()
    paddle.disable_static()  # a tensor's numbers can only be read in dynamic mode
    try:
        return {"dynamic mode": is_dynamic, **_all(folder, models)}
    finally:
        if not is_dynamic:
            paddle.enable_static()


def _all(folder: Path, models: list[nn.Layer]) -> Snapshot:
    found = {f"file {path.relative_to(folder)}": None if path.is_dir() else _content(path) for path in sorted(folder.rglob("*"))}
    for index, model in enumerate(models):
        found.update({f"model {index} {key}": value for key, value in _of_model(model).items()})
    return {**found, **_of_process()}


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Names of what changed, appeared or went away."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name, "absent") != after.get(name, "absent"))


def _content(path: Path) -> bytes | str:
    return os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "special"


def _of_model(model: nn.Layer) -> Snapshot:
    found: Snapshot = {"is": id(model)}
    seen: set[int] = set()
    stack = [("", model)]
    while stack:
        name, layer = stack.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        hooks = len(layer._forward_pre_hooks), len(layer._forward_post_hooks)
        found[f"layer {name}"] = (id(layer), type(layer), layer.training, hooks, id(vars(layer).get("forward")))
        tensors = {**layer._parameters, **layer._buffers}
        found[f"tensors of {name}"] = {key: None if x is None else (id(x), x.numpy().tobytes()) for key, x in tensors.items()}
        stack += [(f"{name}.{key}", child) for key, child in layer._sub_layers.items() if child is not None]
    return found


def _next_random() -> float:
    """What Paddle would draw next; it draws it again."""
    state = paddle.get_rng_state()
    number = float(paddle.rand([]))
    paddle.set_rng_state(state)
    return number


def _of_process() -> Snapshot:
    return {
        "flags": paddle.get_flags(FLAGS),
        "default dtype": paddle.get_default_dtype(),
        "pir mode": paddle.framework.in_pir_mode(),
        "gradients": paddle.is_grad_enabled(),
        "interception": (interception._users, len(interception._originals), dict(vars(interception._running))),
        "operators": (id(paddle.Tensor.__add__), id(paddle._C_ops.relu)),
        "random numbers of paddle": _next_random(),
        "random numbers of numpy": np.random.get_state()[1].tobytes(),  # type: ignore[union-attr,index]
        "random numbers of python": random.getstate(),
        "working directory": os.getcwd(),
        "environment": dict(os.environ),
        "default program": len(paddle.static.default_main_program().global_block().ops),
    }
