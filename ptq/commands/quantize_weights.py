"""The command ``python -m ptq quantize-weights STATE --out FILE``."""

from __future__ import annotations

import argparse
from typing import Any

from ..weights.settings import BITS, GROUP_SIZES, WeightSettings
from ..weights.state.plan import ROWS
from ..weights.state.stream import MANIFEST_SUFFIX, quantize_state

__all__ = ["add_command"]

EPILOG = """examples:
  python -m ptq quantize-weights model.pdparams --out model-int4.safetensors --bits 4 --group-size 64
  python -m ptq quantize-weights model.safetensors.index.json --out int8.safetensors --skip "*.lm_head.*"

Then, in Python: model = ptq.load_weights(Model(), "model-int4.safetensors")
"""


def add_command(commands: Any) -> None:
    """Adds ``quantize-weights`` to the command line; ``commands`` is what `ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "quantize-weights",
        help="quantize the weights of a state, tensor by tensor",
        description="Stores the weights of a .pdparams or .safetensors file as integers, one tensor in memory at a time.  Nothing in a "
        ".pdparams file, which is a pickle, is executed.  An interrupted call is gone on with when it is started again.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("state", metavar="STATE", help="a .pdparams or .safetensors file, or the .index.json of several")
    parser.add_argument("--out", required=True, metavar="FILE", help="the safetensors file to write; its manifest gets its name and "
                        f"{MANIFEST_SUFFIX}")  # fmt: skip
    parser.add_argument("--bits", type=int, choices=BITS, default=8, help="default: 8")
    parser.add_argument("--group-size", type=int, choices=GROUP_SIZES, help="features that share a grid (default: those of a channel)")
    parser.add_argument("--algorithm", choices=("absmax", "mse"), default="absmax", help="default: absmax")
    parser.add_argument(
        "--rows",
        action="append",
        metavar="PATTERN",
        help=f"names of matrices whose channels are their rows, as in embeddings; may be given several times (default: {', '.join(ROWS)})",
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="PATTERN", help="names of tensors that stay as they are; may be given several times"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    settings = WeightSettings(options.bits, options.group_size, options.algorithm)
    manifest = quantize_state(options.state, options.out, settings, rows=options.rows or ROWS, skip=options.skip)
    before, after = manifest["source_bytes"], manifest["bytes"]
    print(f"{options.out}: {manifest['quantized']} of {len(manifest['tensors'])} tensors, {settings.describe()}; "
          f"{before / 1e6:.1f} MB became {after / 1e6:.1f} MB, {after / before:.3f}")  # fmt: skip
    return 0
