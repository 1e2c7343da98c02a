"""Which rule for activation ranges is best on real trained nets?  One calibration per net, every rule on the same statistics.

python -m benchmarks.bench_algorithms [NET ...]
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import numpy as np
import paddle

from benchmarks.metrics import agreement, bits_per_byte, map_f1, softmax, sqnr, top1
from benchmarks.real_nets import NETS, RealNet, batches, outputs, why_absent
from benchmarks.report import print_table, write_json
from benchmarks.run_all import LEFT_OUT
from ptq import ImperativePTQ, PTQConfig
from quantizers import (
    AbsmaxQuantizer,
    AutoQuantizer,
    AvgAbsmaxQuantizer,
    BaseQuantizer,
    EMDQuantizer,
    HistQuantizer,
    KLQuantizer,
    MinMaxQuantizer,
    MovingAverageAbsmaxQuantizer,
    MSEQuantizer,
)

__all__ = ["RULES", "compare", "measure"]

RULES: dict[str, BaseQuantizer] = {
    "KL, guarded (default)": KLQuantizer(),
    "KL, pure": KLQuantizer(mse_guard=False),
    "abs-max": AbsmaxQuantizer(),
    "average abs-max": AvgAbsmaxQuantizer(),
    "moving average abs-max": MovingAverageAbsmaxQuantizer(),
    "min-max": MinMaxQuantizer(),
    "percentile 99.999": HistQuantizer(),
    "MSE": MSEQuantizer(),
    "L1": EMDQuantizer(),
    "auto": AutoQuantizer(),
}


def compare(name: str, net: RealNet, expected: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """SQNR of what the net is judged by (softmax for visual wake words), and the measures that suit it."""
    if name == "mobilenet_vww":
        expected, found = softmax(expected), softmax(found)
    row: dict[str, Any] = {"SQNR dB": sqnr(expected, found), "score": float("nan"), "float score": float("nan"), "measure": ""}
    if name in ("resnet20", "ppocr_cls") and net.labels is not None:
        row |= {"measure": "top-1 %", "score": top1(found, net.labels), "float score": top1(expected, net.labels)}
    elif name == "ppocr_det":
        row |= {"measure": "F1 of the map %", "score": map_f1(expected, found), "float score": 100.0}
    elif name == "lm_python" and net.labels is not None:
        row |= {"measure": "bits per byte", "score": bits_per_byte(found, net.labels), "float score": bits_per_byte(expected, net.labels)}
    row["agreement %"] = agreement(expected, found) if expected.ndim < 4 else float("nan")
    return row


def measure(name: str, rules: dict[str, BaseQuantizer] | None = None) -> list[dict[str, Any]]:
    """One row per rule, on the dev part of the net's data."""
    net = NETS[name]()
    expected = outputs(net.model, net.dev)
    rows = []
    for rule, quantizer in (RULES if rules is None else rules).items():
        # moving averages are only kept when calibration is asked for them
        engine = ImperativePTQ(PTQConfig(quantizer if isinstance(quantizer, MovingAverageAbsmaxQuantizer) else None))
        if rule == "moving average abs-max" or not rows:
            calibrated = engine.quantize(net.model, fuse=True)
            with paddle.no_grad():
                for batch in batches(net.calibration, net.batch):
                    calibrated(batch)
            if rule != "moving average abs-max":
                shared = calibrated
        source = calibrated if rule == "moving average abs-max" else shared
        start = time.process_time()
        converted = engine.convert(source, inplace=False, activation_quantizer=quantizer)
        seconds = time.process_time() - start
        rows.append({"net": name, "rule": rule, **compare(name, net, expected, outputs(converted, net.dev)), "convert CPU s": seconds})
    return rows


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if why_absent():
        print(why_absent(), file=sys.stderr)
        sys.exit(LEFT_OUT)
    table = [row for name in sys.argv[1:] or NETS for row in measure(name)]
    print_table(
        table, dict.fromkeys(("SQNR dB", "agreement %", "convert CPU s"), "{:.2f}") | dict.fromkeys(("score", "float score"), "{:.4g}")
    )
    if not sys.argv[1:]:
        write_json("algorithms", table)
