"""Opens the file of a program, in either format, as Paddle's program of operations; the file is checked before Paddle sees it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import paddle

from quantizers.errors import AlreadyQuantizedError, ProgramError, UnsupportedOperatorError

from ..util.paddle_private import core, pir
from .parameter_file import DTYPES
from .records import Parameter

__all__ = ["open_program", "refuse_quantized"]

QUANTIZING = ("fake_quantize", "fake_dequantize", "fake_channel_wise", "fake_quant", "quantize_linear", "dequantize_linear")
UNKNOWN = re.compile(r"Op (\S+) should have corresponding OpInfo")


def open_program(path: Path) -> tuple[Any, list[Parameter]]:
    """The program in a file, a `paddle.pir.Program`, and what a legacy program declares as its parameters.

    Legacy programs are translated; parameters that no operation reads get lost in that, and are in the file of parameters all the same.
    No mode, flag or scope of Paddle is changed.

    Raises:
        ProgramError: the file is unreadable, cut, encrypted, or no program.
        UnsupportedOperatorError: a legacy program holds an operator that Paddle 3 does not know.
        AlreadyQuantizedError: the program carries the operators of PaddleSlim's quantization.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProgramError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise ProgramError(f"{path} is empty")
    return (_open_json(path, data), []) if data.lstrip()[:1] == b"{" else _open_legacy(path, data)


def _open_json(path: Path, data: bytes) -> Any:
    try:
        header = json.loads(data)["base_code"]["magic"]
    except UnicodeDecodeError as error:
        raise ProgramError(
            f"{path} is no saved program: it is not text ({error.reason}); an encrypted program must be decrypted"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ProgramError(f"{path} is no saved program, or it is cut: {error}") from error
    except (KeyError, TypeError, IndexError) as error:
        raise ProgramError(f"{path} is JSON, but no program that Paddle saved: it has no base_code") from error
    if header != "pir":
        raise ProgramError(f"{path} is JSON, but no program that Paddle saved: its base_code says {header!r}, not 'pir'")
    program = pir.Program()
    try:
        core.deserialize_pir_program(str(path), program)
    except (ValueError, RuntimeError, SystemError, TypeError, IndexError, KeyError) as error:
        raise ProgramError(f"Paddle cannot read the program {path}: {_first_line(error)}") from error
    return program


def _open_legacy(path: Path, data: bytes) -> tuple[Any, list[Parameter]]:
    try:
        description = core.ProgramDesc(data)
    except (ValueError, RuntimeError, SystemError) as error:
        what = "it is cut, encrypted, or no program; an encrypted program must be decrypted first"
        raise ProgramError(f"{path} cannot be read as a Paddle program: {what}") from error
    if description.num_blocks() < 1:
        raise ProgramError(f"{path} holds a program without a block of operations")
    blocks = [description.block(number) for number in range(description.num_blocks())]
    counts = Counter(block.op(number).type() for block in blocks for number in range(block.op_size()))
    refuse_quantized(path, counts)
    try:
        return pir.translate_to_pir(description), _declared(blocks[0])
    except (ValueError, RuntimeError, SystemError, TypeError, IndexError, KeyError) as error:
        unknown = UNKNOWN.search(str(error))
        if unknown:
            name = unknown[1].removeprefix("pd_op.")
            number = next((index for index in range(blocks[0].op_size()) if blocks[0].op(index).type() == name), 0)
            raise UnsupportedOperatorError(
                f"{path} holds an operator that Paddle {paddle.__version__} does not know: {name} "
                f"({counts[name]} times, first at operation {number})"
            ) from error
        raise ProgramError(f"Paddle cannot translate the program {path}: {_first_line(error)}") from error


def _declared(block: Any) -> list[Parameter]:
    kind = core.VarDesc.VarType.DENSE_TENSOR
    variables = [variable for variable in block.all_vars() if variable.persistable() and variable.type() == kind]
    return [
        Parameter(-1, variable.name(), tuple(variable.shape()), DTYPES.get(int(variable.dtype()), "unknown"), True, False)
        for variable in variables
    ]


def refuse_quantized(path: Path, counts: Counter[str]) -> None:
    """A program that was quantized already.

    Raises:
        AlreadyQuantizedError: ``counts`` of operators hold quantizing ones.
    """
    found = {name: count for name, count in counts.items() if name.startswith(QUANTIZING)}
    if found:
        listed = ", ".join(f"{count} {name}" for name, count in sorted(found.items()))
        raise AlreadyQuantizedError(
            f"{path} was quantized already: it holds {listed}, which PaddleSlim's quantization writes; "
            "load the float program that it was made from"
        )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
