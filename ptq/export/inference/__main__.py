"""Run as ``python -m ptq.export.inference REQUEST.json``: the legacy mode is global, and a failure in it outlasts the call.

A request has ``source`` (prefix of a program saved by `paddle.jit.save`), ``target`` (prefix of the files to write), ``names`` (what to
call stored tensors instead), and, to write the program cut at its grids, ``inputs``, ``values``, ``facts`` and ``halve``: the file to
read inputs from, the files for what the source computes at each grid and output and for what these are, and whether to halve weights that
may saturate, in both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from quantizers.errors import ExportError

from ...util.npz import load_arrays, save_arrays
from ...util.paddle_private import OldIrGuard
from .cut import cut, describe, grids_of
from .grids import find_grids
from .halved import halve_weights
from .held_scales import hold_scales
from .merged import open_merged_grids
from .origin import forget_origin
from .placeholder import write_placeholder
from .program import Program, read_program
from .shapes import fix_shapes
from .tidy import drop_identities, flatten_biases, fold_causal_masks, rename_parameters
from .translate import translate
from .writer import Writer


def main(request: dict[str, Any]) -> None:
    """Serves one request."""
    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    source, inputs, _ = paddle.static.load_inference_model(request["source"], executor)
    scope = paddle.static.global_scope()
    is_halved = request.get("halve", False) and halve_weights(source, scope)
    program, values = read_program(source, scope)
    outputs = list(program.outputs)
    program.inputs = list(inputs)
    rename_parameters(program, request["names"])
    drop_identities(program)
    find_grids(program)
    fold_causal_masks(program)
    flatten_biases(program)
    fix_shapes(program)
    program.drop_unread()
    open_merged_grids(program)
    hold_scales(program)
    if "inputs" in request:
        feeds = dict(zip(inputs, load_arrays(Path(request["inputs"])), strict=True))
        facts = describe(program)
        facts["loose"] = [number for number in facts["loose"] if outputs[number] in values]  # not an input or constant that is returned
        wanted = [*grids_of(program), *(outputs[number] for number in facts["loose"])]
        save_arrays(Path(request["values"]), _values(executor, source, feeds, [values[name] for name in wanted]))
        Path(request["facts"]).write_text(json.dumps({**facts, "halved": is_halved}), encoding="utf-8")
        program = cut(program)
    _write(program, request["target"], executor)


def _values(executor: Any, source: Any, feeds: dict[str, np.ndarray], wanted: list[Any]) -> list[np.ndarray]:
    """What the saved program computes for some of its values."""
    block = source.global_block()
    for op in [op for op in block.ops if op.name() == "pd_op.fetch"]:
        block.remove_op(op)  # fetching by hand beside them fails
    return list(executor.run(source, feed=feeds, fetch_list=wanted)) if wanted else []


def _write(program: Program, target: str, executor: Any) -> None:
    if not any(name in program.arrays for op in program.ops for name in op.reads()):
        raise ExportError("the program has no parameters, so there is nothing to compute in int8")
    scope = paddle.static.Scope()
    with OldIrGuard(), paddle.static.scope_guard(scope):
        writer = Writer(program, scope)
        translate(writer)
        paddle.static.save_inference_model(target, writer.feeds(), writer.fetches(), executor, program=writer.program)
        forget_origin(Path(f"{target}.pdmodel"))
    write_placeholder(target)


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except ExportError as error:
        sys.exit(f"ExportError: {error}")
