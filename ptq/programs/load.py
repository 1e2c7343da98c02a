"""`load_program`: from the files of a saved program to a layer."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import ProgramError, UnsupportedOperatorError

from .files import find_files
from .layers import LAYERS
from .opening import open_program, refuse_quantized
from .operators import OPERATORS
from .parameter_file import read_parameters
from .plan import make_plan
from .program import MOST_INPUTS, Program
from .recording import WIDENED, record
from .records import Constant, Operation, Recorded
from .simplify import simplify

__all__ = ["load_program"]

REWRITTEN = ("dropout",)
CONTROL_FLOW = ("if", "while", "pylayer")


def load_program(
    path: str | os.PathLike[str],
    *,
    params_path: str | os.PathLike[str] | None = None,
    model_filename: str | None = None,
    params_filename: str | None = None,
    fold_scales: bool = True,
) -> nn.Layer:
    """Opens a saved Paddle program as an ordinary layer that computes the same.

    Convolutions, products with a parameter, norms, pools, activations and recurrent operators become the layers of `paddle.nn`, named by
    their path in the original model where the file knows it; other operators are replayed.  Biases join their layers; dropout, reshapes
    to the same shape and what depends on constants only disappear.  No Python class is needed, and nothing is unpickled.  Programs in
    float16 or bfloat16 are computed in float32.

    Args:
        path: the prefix ``folder/model`` of ``model.json`` or ``model.pdmodel`` with ``model.pdiparams``, the program file itself, or a
            folder with ``inference.*`` or ``__model__`` in it.
        params_path: the file of parameters, or the folder with one file each, where it does not lie beside the program.
        model_filename, params_filename: file names in the folder ``path``.
        fold_scales: whether parameters that scale or shift what layers compute (PP-LCNet's learned affine maps) go into their weights.
            The answers then differ as from any other rounding of the weights to float32; without it they are those of the program.

    Returns:
        The layer, in eval mode; ``input_spec`` says what it takes.

    Raises:
        ProgramError: a file is missing, cut, encrypted, no program, one of this project's own, or of another program.
        UnsupportedOperatorError: the program holds operators that cannot be replayed; all are named, before anything is computed.
        AlreadyQuantizedError: the program carries PaddleSlim's operators.
    """
    files = find_files(path, params_path, model_filename, params_filename)
    program, declared = open_program(files.model)
    with _dynamic():
        recorded, nesting = record(program)
        _refuse_unknown(files.model, recorded, nesting)
        if len(recorded.inputs) > MOST_INPUTS:
            raise ProgramError(f"{files.model} takes {len(recorded.inputs)} inputs, and at most {MOST_INPUTS} can be saved again")
        known = {parameter.name for parameter in recorded.parameters}
        unread = [parameter for parameter in declared if parameter.name not in known]
        arrays = read_parameters(files, [*recorded.parameters, *unread])
        for parameter in recorded.parameters:
            data = (
                _tensor(arrays[parameter.name])
                if parameter.saved
                else paddle.zeros(parameter.shape, WIDENED.get(parameter.dtype, parameter.dtype))
            )
            recorded.constants[parameter.value] = Constant(data, parameter.name, parameter.trainable)
        simplify(recorded, fold_scales)
        _refuse_unsaved(files.model, recorded)
        plan = make_plan(recorded)
        obstacles = [f"dropout was taken out at {place}" for place in recorded.removed_dropouts]
        names = [str(number) for number in range(len(recorded.outputs))]
        return Program(plan, recorded.input_ports, names, obstacles)


@contextlib.contextmanager
def _dynamic() -> Iterator[None]:
    """Layers are made in dynamic mode with float32 as default, and draw random numbers that nobody keeps; all is put back."""
    static, dtype, random = not paddle.in_dynamic_mode(), paddle.get_default_dtype(), paddle.get_rng_state()
    if static:
        paddle.disable_static()
    paddle.set_default_dtype("float32")
    try:
        yield
    finally:
        paddle.set_default_dtype(dtype)
        paddle.set_rng_state(random)
        if static:
            paddle.enable_static()


def _refuse_unknown(path: Path, recorded: Recorded, nesting: Counter[str]) -> None:
    counts = Counter(operation.name for operation in recorded.operations)
    refuse_quantized(path, counts)
    unknown = {name: count for name, count in counts.items() if name not in OPERATORS and name not in LAYERS and name not in REWRITTEN}
    if not unknown:
        _refuse_training(path, recorded)
        return
    first: dict[str, Operation] = {}
    for operation in recorded.operations:
        first.setdefault(operation.name, operation)
    listed = "; ".join(f"{name} ({count} times, first at {first[name].where})" for name, count in unknown.items())
    why = " (control flow depends on data, and cannot be replayed)" if any(name in CONTROL_FLOW for name in [*unknown, *nesting]) else ""
    raise UnsupportedOperatorError(f"{path} holds operators that cannot be replayed: {listed}{why}")


def _refuse_training(path: Path, recorded: Recorded) -> None:
    training = [op for op in recorded.operations if op.name in ("dropout", "batch_norm", "rnn") and not op.attrs.get("is_test", True)]
    if training:
        listed = ", ".join(f"{operation.name} at {operation.where}" for operation in training[:3])
        raise ProgramError(f"{path} was saved in training mode ({listed}): call eval() on the model before it is saved")


def _refuse_unsaved(path: Path, recorded: Recorded) -> None:
    """What the program reads and the file of parameters lacks; the state of a dropout inside a recurrent layer is never used."""
    unsaved = {parameter.value: parameter.name for parameter in recorded.parameters if not parameter.saved}
    for operation in recorded.operations:
        for value in operation.reads():
            if value in unsaved and operation.name != "rnn":
                raise ProgramError(f"{path} reads {unsaved[value]} at {operation.where}, a buffer that was not saved")


def _tensor(array: np.ndarray[Any, Any]) -> paddle.Tensor:
    """The data as a tensor; half precision is widened, which loses nothing."""
    if array.dtype == np.uint16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return paddle.to_tensor(array.astype(np.float32) if array.dtype == np.float16 else array)
