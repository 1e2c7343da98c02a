"""Reports of real nets: what they say first, how large the page is, and how many float forwards a sample costs.

    python -m benchmarks.bench_report [--out FOLDER] [net ...]

Nets are those of `real_nets`, and ``rec``, PP-OCRv4 recognition from its saved program.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import paddle

import ptq
from benchmarks.programs import ocr_folder, why_no_ocr
from benchmarks.real_nets import NETS, batches, text_lines, why_absent
from benchmarks.report import print_table, write_json
from benchmarks.run_all import LEFT_OUT
from ptq.reports.accuracy import TwinSubject, measure

__all__ = ["REC", "cost", "main", "quantized_net"]

SAMPLES = 32
REC = "rec"
FORMATS = {"output dB": "{:.1f}", "alone dB": "{:.1f}", "page MB": "{:.2f}", "seconds": "{:.0f}", "float forwards": "{:.1f}"}


def quantized_net(name: str, placement: str) -> tuple[ptq.QuantizeResult, np.ndarray, int]:
    """A net quantized by the default settings, inputs that it was not calibrated with, and the size of a batch."""
    if name == REC:
        x = text_lines()
        folder = ocr_folder("PP-OCRv4 recognition")
        result = ptq.quantize_model(folder, list(batches(x[:32], 8)), placement=placement, progress=False)
        return result, x[100:], 8
    net = NETS[name]()
    result = ptq.quantize_model(net.model, list(batches(net.calibration, net.batch)), placement=placement, progress=False)
    return result, net.dev, net.batch


def cost(result: ptq.QuantizeResult, data: Iterable[paddle.Tensor]) -> float:
    """CPU time of measuring, in forwards of the float model on the same data; what is done once is left out."""
    subject = TwinSubject(result.model)
    calls: list[Any] = [(((x,), {}), int(x.shape[0])) for x in data]
    measure(subject, calls[:1], {})
    model = subject._float
    with paddle.no_grad():
        model(calls[0][0][0][0])
        start = time.process_time()
        for (args, _), _ in calls:
            model(*args)
        forwards = time.process_time() - start
    start = time.process_time()
    measure(subject, calls, {})
    return (time.process_time() - start) / forwards


def main() -> int:
    """Prints one line a net."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", metavar="net")
    parser.add_argument("--out", metavar="FOLDER", help="keep the pages here")
    parser.add_argument("--placement", default="full")
    options = parser.parse_args()
    if why_absent():
        print(why_absent())
        return LEFT_OUT
    warnings.simplefilter("ignore")
    names = options.nets or [*NETS, *([] if why_no_ocr() else [REC])]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            result, dev, batch = quantized_net(name, options.placement)
            data = list(batches(dev[:SAMPLES], min(batch, SAMPLES)))
            page = Path(options.out or folder, f"{name}.html")
            start = time.perf_counter()
            report = ptq.report(result, data, path=page)
            seconds = time.perf_counter() - start
            first = report.findings[0] if report.findings else None
            rows.append(
                {
                    "net": name,
                    "layers": len(report.layers),
                    "output dB": min(output.sqnr_db for output in report.outputs),
                    "worst layer": report.layers[0].name,
                    "alone dB": report.layers[0].alone_db,
                    "first advice": None if first is None else f"{first.rule} {', '.join(first.layers[:1])}".strip(),
                    "page MB": page.stat().st_size / 1e6,
                    "seconds": seconds,
                    "float forwards": cost(result, data),
                }
            )
            print_table(rows[-1:], FORMATS)
    print_table(rows, FORMATS)
    write_json("report", rows, placement=options.placement, samples=SAMPLES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
