"""Does every family of `paddle.vision.models` survive quantize, convert, `jit.save` and `jit.load` in a fresh process?

python -m benchmarks.bench_families [FAMILY ...]
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from typing import Any

import numpy as np
import paddle
from paddle.static import InputSpec

from benchmarks.report import print_table, write_json
from benchmarks.zoo import FAMILIES, centred_sqnr, example, make
from ptq import ImperativePTQ, PTQConfig
from ptq.export.check import replay, tensors_apart
from quantizers import AbsmaxQuantizer, PerChannelAbsmaxQuantizer

__all__ = ["measure"]


def _first(output: Any) -> paddle.Tensor:
    return output[0] if isinstance(output, (tuple, list)) else output


def _quantized(family: str, fuse: bool, bits: int | None) -> tuple[Any, float, float]:
    """The converted model, its SQNR against float, and the relative difference of the folded float model."""
    model, x = make(family), example(family, batch=16)
    config = PTQConfig() if bits is None else PTQConfig(AbsmaxQuantizer(bits), PerChannelAbsmaxQuantizer(bits))
    engine = ImperativePTQ(config)
    calibrated = engine.quantize(model, fuse=fuse)
    with paddle.no_grad():
        reference = _first(model(x))
        folded = _first(calibrated(x))
        calibrated(example(family, seed=2))
        converted = engine.convert(calibrated)
        answer = _first(converted(x))
    return converted, centred_sqnr(reference.numpy(), answer.numpy()), tensors_apart(folded, reference)


def amplification(family: str) -> float:
    """SQNR in dB of the float model's output when its input carries noise of -90 dB, about that of one 16-bit grid.

    What a net makes of noise at its input it makes of each of its grids' too: a deep untrained net near 40 dB here cannot be better.
    """
    model, x = make(family), example(family, batch=16)
    clean = x.numpy()
    noise = np.random.default_rng(0).standard_normal(clean.shape) * np.sqrt(np.square(clean).mean()) * 10 ** (-90 / 20)
    with paddle.no_grad():
        return centred_sqnr(_first(model(x)).numpy(), _first(model(paddle.to_tensor((clean + noise).astype("float32")))).numpy())


def measure(family: str, fuse: bool) -> dict[str, Any]:
    """SQNR with 16 and 8 bits, and the largest relative difference after `jit.save` and a load in a fresh process."""
    _, sqnr16, folded = _quantized(family, fuse, 16)
    converted, sqnr8, _ = _quantized(family, fuse, None)
    x = example(family, batch=3, seed=3)
    spec = InputSpec([None, *x.shape[1:]], "float32")
    with tempfile.TemporaryDirectory() as folder, paddle.no_grad():
        paddle.jit.save(converted, f"{folder}/model", input_spec=[spec])
        answers = replay(f"{folder}/model", [x])
        expected = [item for item in paddle.utils.flatten(converted(x)) if isinstance(item, paddle.Tensor)]
    reload = max(tensors_apart(a, b) for a, b in zip(answers, expected, strict=True))
    return {
        "family": family,
        "fuse": fuse,
        "sqnr16": sqnr16,
        "sqnr8": sqnr8,
        "input -90 dB": amplification(family),
        "folded": folded,
        "reload": reload,
    }


def main(families: list[str]) -> int:
    """Prints the table; the exit status is 1 when a row misses a limit.  A choice of families leaves the results file alone."""
    warnings.simplefilter("ignore")
    rows = []
    for family in families or FAMILIES:
        for fuse in (True, False):
            rows.append(row := measure(family, fuse))
            row["ok"] = row["sqnr16"] >= 40 and row["folded"] <= 1e-4 and row["reload"] <= 1e-5
            print(f"{family} {fuse} {'ok' if row['ok'] else 'MISSED'}", file=sys.stderr)
    print_table(rows, {"sqnr16": "{:.1f} dB", "sqnr8": "{:.1f} dB", "input -90 dB": "{:.1f} dB", "folded": "{:.1e}", "reload": "{:.1e}"})
    if not families:
        write_json("families", rows)
    return int(any(not row["ok"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
