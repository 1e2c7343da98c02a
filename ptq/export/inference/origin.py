"""Removes from a written program where it was made."""

from __future__ import annotations

from pathlib import Path

import paddle

__all__ = ["forget_origin"]

CALLSTACK = "op_callstack"


def forget_origin(pdmodel: Path) -> None:
    """Drops the stack of Python calls, with absolute paths of this machine, that Paddle keeps with each operation.

    Use it inside `paddle.pir_utils.OldIrGuard`.
    """
    program = paddle.static.Program.parse_from_string(pdmodel.read_bytes())
    for block in program.blocks:
        for op in block.ops:
            if op.desc.has_attr(CALLSTACK):
                op.desc.remove_attr(CALLSTACK)
    pdmodel.write_bytes(program.desc.serialize_to_string())
