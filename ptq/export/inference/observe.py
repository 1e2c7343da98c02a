"""Run as ``python -m ptq.export.inference.observe PREFIX INPUTS OUTPUTS`` with ``ONEDNN_VERBOSE=1``.

Answers once with the exported model, while oneDNN prints its kernels, and lists the compute operations of the program.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from quantizers.errors import ArtifactError

from ...runtimes.paddle_inference import run_once
from ...util.npz import load_arrays, save_arrays
from .layers import read_layers
from .predictor import INFERENCE_SUFFIXES


def _main(prefix: str, inputs: str, outputs: str) -> None:
    program, parameters = (prefix + suffix for suffix in INFERENCE_SUFFIXES)
    save_arrays(Path(outputs), run_once((program, parameters), load_arrays(Path(inputs))))
    layers = [asdict(layer) for layer in read_layers(Path(program))]
    Path(outputs).with_suffix(".json").write_text(json.dumps(layers), encoding="utf-8")


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except ArtifactError as error:
        sys.exit(f"ExportError: {error}")
