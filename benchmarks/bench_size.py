"""How much smaller is the saved model?

python -m benchmarks.bench_size
"""

from __future__ import annotations

import os
import tempfile
import warnings

import paddle
from paddle.static import InputSpec
from paddle.vision import models

from benchmarks.report import print_table, write_json
from ptq import ImperativePTQ

__all__ = ["measure"]


def measure(name: str) -> dict[str, object]:
    """Bytes of the parameters, float and int8, of a `paddle.vision` model saved for 224 x 224 images."""
    model = getattr(models, name)()
    model.eval()
    spec = [InputSpec([None, 3, 224, 224], "float32")]
    engine = ImperativePTQ()
    with tempfile.TemporaryDirectory() as folder, paddle.no_grad():
        paddle.jit.save(model, f"{folder}/float", input_spec=spec)
        calibrated = engine.quantize(model, fuse=True)
        calibrated(paddle.randn([2, 3, 224, 224]))
        engine.save_quantized_model(calibrated, f"{folder}/int8", input_spec=spec)
        before, after = (os.path.getsize(f"{folder}/{kind}.pdiparams") for kind in ("float", "int8"))
    return {"model": name, "float bytes": before, "int8 bytes": after, "ratio": after / before}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    rows = [measure(name) for name in ("resnet50", "mobilenet_v2")]
    print_table(rows, {"ratio": "{:.3f}"})
    write_json("size", rows)
