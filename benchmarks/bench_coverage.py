"""How much of each net is int8, by the coverage ledger, and do the kernels of ONNX Runtime agree?

python -m benchmarks.bench_coverage [FAMILY ...]
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

from benchmarks.report import print_table, write_json
from benchmarks.zoo import FAMILIES, example, make
from ptq import ImperativePTQ, Ledger, PTQConfig, coverage
from ptq.graph.operators import Cost, operator_of
from quantizers import MinMaxQuantizer
from quantizers.errors import QuantizationError

__all__ = ["LEAST_SHARE", "converted", "kernels_of", "measure"]

LEAST_SHARE = {"transformer_encoder": 0.95}  # of the multiply-accumulates in int8, 0.99 for all others
AGREE = (("kernels", "compute"), ("kernels int8", "compute int8"))


def converted(family: str, placement: str) -> Any:
    """The family's quantized member."""
    engine = ImperativePTQ(PTQConfig(MinMaxQuantizer(), placement=placement))
    prepared = engine.quantize(make(family), fuse=True)
    prepared(example(family, batch=2))
    return engine.convert(prepared)


def kernels_of(model: Any) -> tuple[int, int, str]:
    """Convolutions and products that ONNX Runtime executes, those of them in int8, and why some are not."""
    from ptq.export.onnx.export import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        report = export_onnx(model, f"{folder}/model.onnx")
    runtime = next(runtime for runtime in report.runtimes if runtime.runtime == "ONNX Runtime")
    reasons = sorted({f"{kernel.op}: {kernel.reason}" for kernel in runtime.kernels if not kernel.is_int8})
    return len(runtime.kernels), sum(kernel.is_int8 for kernel in runtime.kernels), "; ".join(reasons)


def measure(family: str, placement: str, has_onnx: bool) -> dict[str, Any]:
    """One row: the ledger's totals, beside what ONNX Runtime reports."""
    model = converted(family, placement)
    ledger = coverage(model)
    compute = [row for row in ledger.rows if operator_of(row.op).cost is not Cost.NOTHING]
    row: dict[str, Any] = {
        "family": family,
        "placement": placement,
        "int8 MACs": ledger.int8_share,
        "ops": len(ledger.rows),
        **{f"{state} ops": count for state, count in ledger.to_dict()["totals"]["ops"].items()},
        "bytes": ledger.bytes / ledger.float_bytes,
        "compute": len(compute),
        "compute int8": sum(item.state == "int8" for item in compute),
    }
    if has_onnx:
        try:
            row["kernels"], row["kernels int8"], row["why not"] = kernels_of(model)
        except QuantizationError as error:
            row["kernels"], row["kernels int8"], row["why not"] = 0, 0, f"{type(error).__name__}: {str(error)[:200]}"
    row["ok"] = not ledger.untraced and (placement != "full" or _is_enough(family, ledger, row))
    return row


def _is_enough(family: str, ledger: Ledger, row: dict[str, Any]) -> bool:
    """With placement ``full``: the share that is asked for, and as many int8 kernels as the ledger says."""
    agrees = all(row.get(kernels, row[ledger_says]) == row[ledger_says] for kernels, ledger_says in AGREE)
    return ledger.int8_share >= LEAST_SHARE.get(family, 0.99) and agrees


def main(families: Sequence[str]) -> int:
    """Prints the table; the exit status is 1 when a row misses a target.  A choice of families leaves the results file alone."""
    warnings.simplefilter("ignore")
    has_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "paddle2onnx"))
    rows = []
    for family in families or FAMILIES:
        for placement in ("full", "compute"):
            rows.append(measure(family, placement, has_onnx))
            print(f"{family} {placement} {'ok' if rows[-1]['ok'] else 'MISSED'}", file=sys.stderr)
    print_table(rows, {"int8 MACs": "{:.2%}", "bytes": "{:.3f}"})
    if not families:
        write_json("coverage", rows)
    return int(any(not row["ok"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
