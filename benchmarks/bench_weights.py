"""Without data: what do integer weights, dynamic ranges and integer embeddings cost, and what do they gain?

    python -m benchmarks.bench_weights [loss] [speed] [state]

``loss``: bits per byte of the trained language model.  ``speed``: a transformer encoder in ONNX Runtime, one thread, int8 against float in
one run, interleaved; beside it ONNX Runtime's own tools on the same float file, where they can be imported.  ``state``: a state of 2 GB
streamed, its memory, and the same bytes after it was killed twice.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn
from paddle.static import InputSpec

import ptq
from benchmarks.encoder import Encoder
from benchmarks.real_nets import data_folder, why_absent
from benchmarks.report import print_table, write_json
from benchmarks.run_all import LEFT_OUT
from ptq.export.jit.program import write_jit
from ptq.export.onnx.write import parameter_names, write_onnx
from ptq.util.compare import sqnr_db
from ptq.weights.state.tensors import header_of

__all__ = ["loss", "speed", "state"]

WIDTH, TOKENS = 768, (1, 16, 128)
BLOCKS = {"bits": 4, "group_size": 32, "layers": nn.Linear}


def _language_model() -> tuple[nn.Layer, np.ndarray, np.ndarray]:
    """The trained net, calibration and test bytes."""
    sys.path.insert(0, str(data_folder()))
    import nets

    text = np.load(data_folder() / "text_python.npz")
    return nets.LM(str(data_folder() / "lm_python.npz")), text["calib"].astype("int64"), text["test"].astype("int64")


def _bits_per_byte(model: nn.Layer, text: np.ndarray, batch: int) -> float:
    total = 0.0
    with paddle.no_grad():
        for start in range(0, len(text), batch):
            part = paddle.to_tensor(text[start : start + batch])
            logits = model(part[:, :-1])
            total += float(F.cross_entropy(logits.reshape([-1, logits.shape[-1]]), part[:, 1:].reshape([-1]), reduction="sum"))
    return total / text[:, 1:].size / float(np.log(2))


def _losing() -> Iterator[tuple[str, int, Callable[[nn.Layer, Any], nn.Layer]]]:
    """Name, batch size, and what makes the quantized model of the float one and calibration batches."""
    weights, dynamic = ptq.quantize_weights, ptq.quantize_dynamic
    yield "int8 dynamic, a grid per tensor", 1, lambda m, _: dynamic(m).model
    yield "int8 dynamic, a grid per row", 1, lambda m, _: dynamic(m, granularity="row").model
    yield "int8 weights", 64, lambda m, _: weights(m).model
    yield "int16 weights", 64, lambda m, _: weights(m, bits=16).model
    yield "embeddings abs_max per row", 64, lambda m, _: weights(m, layers=nn.Embedding).model
    yield "embeddings abs_max per tensor", 64, lambda m, _: weights(m, layers=nn.Embedding, per_channel=False).model
    yield "embeddings log", 64, lambda m, _: weights(m, layers=nn.Embedding, algorithm="log").model
    for algorithm in ("absmax", "mse", "hqq", "gptq", "awq"):
        for symmetric in (True, False):
            yield f"4 bits in blocks of 32, {algorithm}{'' if symmetric else ', asymmetric'}", 64, _in_blocks(algorithm, symmetric)


def _in_blocks(algorithm: str, symmetric: bool) -> Callable[[nn.Layer, Any], nn.Layer]:
    def make(model: nn.Layer, batches: Any) -> nn.Layer:
        data = batches if algorithm in ("gptq", "awq") else None
        linear = ptq.quantize_weights(model, algorithm=algorithm, symmetric=symmetric, data=data, **BLOCKS).model  # type: ignore[arg-type]
        return ptq.quantize_weights(linear, layers=nn.Embedding).model

    return make


def loss() -> list[dict[str, Any]]:
    """A row for each way: bits per byte lost against float, seconds to quantize."""
    model, calibration, test = _language_model()
    batches = [paddle.to_tensor(calibration[start : start + 32, :-1]) for start in range(0, len(calibration), 32)]
    floats = {batch: _bits_per_byte(model, test, batch) for batch in (1, 64)}
    rows = []
    for name, batch, make in _losing():
        start = time.perf_counter()
        quantized = make(model, batches)
        seconds = time.perf_counter() - start
        lost = _bits_per_byte(quantized, test, batch) - floats[batch]
        rows.append({"part": "loss", "model": "lm_python", "method": name, "batch": batch, "bits per byte lost": lost, "seconds": seconds})
    return rows


def _write(model: nn.Layer, file: Path) -> None:
    prefix = str(file.with_suffix(""))
    write_jit(model, prefix, [InputSpec([1, None, WIDTH], "float32", "x")])
    write_onnx(prefix, file, file.with_suffix(".simulated.onnx"), parameter_names(model))


def _files(folder: Path) -> dict[str, Path]:
    """The float file, ours, and those of ONNX Runtime's own tools."""
    paddle.seed(0)
    model = Encoder(WIDTH)
    model.eval()
    made: dict[str, Callable[[], nn.Layer]] = {
        "float": lambda: model,
        "dynamic": lambda: ptq.quantize_dynamic(model).model,
        "dynamic, by row": lambda: ptq.quantize_dynamic(model, granularity="row").model,
        "4 bits in blocks": lambda: ptq.quantize_weights(model, bits=4, group_size=32).model,
        "4 bits in blocks, mse": lambda: ptq.quantize_weights(model, bits=4, group_size=32, algorithm="mse").model,
        "8 bits in blocks": lambda: ptq.quantize_weights(model, bits=8, group_size=32).model,
        "8 bits per channel": lambda: ptq.quantize_weights(model, bits=8).model,
    }
    files = {}
    for name, make in made.items():
        files[name] = folder / f"{name.replace(' ', '_').replace(',', '')}.onnx"
        _write(make(), files[name])
    return files | _theirs(files["float"], folder)


def _theirs(source: Path, folder: Path) -> dict[str, Path]:
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    except ImportError as error:
        print(f"ONNX Runtime's own tools are left out: {error}", file=sys.stderr)
        return {}
    files = {"ORT quantize_dynamic": folder / "ort_dynamic.onnx"}
    quantize_dynamic(source, files["ORT quantize_dynamic"], weight_type=QuantType.QInt8, per_channel=True)
    for bits, symmetric in ((4, False), (8, True)):
        tool = MatMulNBitsQuantizer(onnx.load(source), block_size=32, is_symmetric=symmetric, accuracy_level=4, bits=bits)
        tool.process()
        name = f"ORT MatMulNBitsQuantizer, {bits} bits"
        files[name] = folder / f"ort_{bits}.onnx"
        onnx.save(tool.model.model, files[name])
    return files


def speed(rounds: int) -> list[dict[str, Any]]:
    """A row for each file and number of tokens: milliseconds of CPU time, ratio to float of the same rounds, distance, size."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    rows = []
    with tempfile.TemporaryDirectory(prefix="ptq-weights-") as folder:
        files = _files(Path(folder))
        sessions = {
            name: onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]) for name, file in files.items()
        }
        largest = files["float"].stat().st_size
        for tokens in TOKENS:
            x = np.random.default_rng(0).standard_normal((1, tokens, WIDTH)).astype("float32")
            times: dict[str, list[float]] = {name: [] for name in files}
            answers = {name: session.run(None, {"x": x})[0] for name, session in sessions.items()}
            for _ in range(rounds if tokens < 100 else max(rounds // 3, 5)):
                for name, session in sessions.items():
                    start = time.process_time()
                    session.run(None, {"x": x})
                    times[name].append(time.process_time() - start)
            for name, file in files.items():
                ratios = np.array(times["float"]) / np.array(times[name])
                row = {"part": "speed", "model": f"encoder {WIDTH} x 6", "method": name, "tokens": tokens}
                row |= {"ms": float(np.median(times[name])) * 1e3, "times float": float(np.median(ratios))}
                row |= {"tokens per second": tokens / float(np.median(times[name])), "dB": sqnr_db(answers["float"], answers[name])}
                rows.append(row | {"size": file.stat().st_size / largest})
    return rows


def _random_state(file: Path, tensors: int = 30, size: int = 4096) -> None:
    """Random matrices ``[size, size]``, 64 MB each by default."""
    header, _ = header_of([(f"layers.{number}.weight", "F32", (size, size)) for number in range(tensors)], {})
    block = np.random.default_rng(0).standard_normal(1 << 20).astype("float32").tobytes()
    with file.open("wb") as opened:
        opened.write(header)
        left = tensors * size * size * 4
        while left > 0:
            opened.write(block[: min(left, len(block))])
            left -= len(block)


def _run(work: str, stop_after: float | None = None) -> tuple[float, float]:
    """Peak memory in MB and seconds of a Python process, killed after a while where that is asked.

    The peak is of the process's own memory: what the system counts for a child begins with its parent's.
    """
    start = time.perf_counter()
    code = f"{work}\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if stop_after is not None:
        time.sleep(stop_after)
        process.send_signal(signal.SIGKILL)
    printed = process.communicate()[0].split()
    return (int(printed[-1]) / 1024 if stop_after is None else 0.0), time.perf_counter() - start


def state() -> list[dict[str, Any]]:
    """One row: bytes, memory over Paddle's own, seconds, and whether an interrupted run ended in the same bytes."""
    with tempfile.TemporaryDirectory(prefix="ptq-state-") as folder:
        source, whole, again = (Path(folder, name) for name in ("state.safetensors", "whole.safetensors", "again.safetensors"))
        _random_state(source)
        alone, _ = _run("import paddle")
        options = ["quantize-weights", str(source), "--bits", "4", "--group-size", "64", "--out"]
        work = "from ptq.cli import main; assert main({!r}) == 0"
        used, seconds = _run(work.format([*options, str(whole)]))
        for part in (0.3, 0.5):
            _run(work.format([*options, str(again)]), stop_after=part * seconds)
        _run(work.format([*options, str(again)]))
        same = hashlib.sha256(whole.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest()
        sizes = source.stat().st_size, whole.stat().st_size
    row = {"part": "state", "model": "30 matrices of 64 MB", "method": "4 bits in blocks of 64, streamed", "MB": sizes[0] / 1e6}
    return [row | {"size": sizes[1] / sizes[0], "MB over Paddle": used - alone, "seconds": seconds, "same bytes after two kills": same}]


FORMS = {
    **dict.fromkeys(("ms", "times float", "seconds"), "{:.2f}"),
    **dict.fromkeys(("dB", "MB", "MB over Paddle", "tokens per second"), "{:.1f}"),
    "bits per byte lost": "{:+.5f}",
    "size": "{:.3f}",
}


def main() -> int:
    """Prints the tables and, when all parts are measured, writes ``results/weights.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], "loss", "speed", "state"], default=[])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    parts = options.parts or ["loss", "speed", "state"]
    absent = why_absent() if "loss" in parts else ""
    makers = {"loss": loss, "speed": lambda: speed(options.rounds), "state": state}
    rows = []
    for part in parts:
        if part != "loss" or not absent:
            found = makers[part]()
            print_table(found, FORMS)
            rows += found
    if len(parts) == len(makers) and not absent:
        write_json("weights", rows, rounds=options.rounds)
    if absent:
        print(absent, file=sys.stderr)
    return LEFT_OUT if absent else 0


if __name__ == "__main__":
    sys.exit(main())
