"""Lets `paddle.jit.load` open the folder: it takes ``prefix.infer.pdiparams`` for the parameters of a method ``infer``."""

from __future__ import annotations

from pathlib import Path

import paddle

from ...util.paddle_private import IrGuard, OldIrGuard, write_program

__all__ = ["write_placeholder"]


def write_placeholder(target: str) -> None:
    """Writes ``target.json``, a portable program without operations that owns the parameters of ``target.pdiparams``.

    Paddle reads as many tensors as the program declares and refuses a file that holds more; it does not compare shapes or dtypes.
    The declared names are new ones, so that no method's parameters take the place of another's.
    """
    with OldIrGuard():
        program = paddle.static.Program.parse_from_string(Path(f"{target}.pdmodel").read_bytes())
        names = [variable.name for variable in program.list_vars() if variable.persistable and variable.name not in ("feed", "fetch")]
    with IrGuard():
        program, start = paddle.static.Program(), paddle.static.Program()
        with paddle.static.program_guard(program, start):
            for name in names:
                paddle.static.create_parameter([1], "float32", name=f"infer.{name}")
        write_program(program, f"{target}.json", trainable=True)
