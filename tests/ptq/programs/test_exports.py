"""Programs of the kinds that people deploy, quantized and saved in every format, or refused with the operation's name."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
import pytest
from paddle import nn
from program_nets import save

import ptq
from quantizers.errors import ExportError, QuantizationWarning

pytestmark = pytest.mark.slow


class Detection(nn.Layer):
    """A pyramid: a deep map is enlarged by its nearest neighbours, added to a shallow one, and made a map of the picture's size."""

    def __init__(self) -> None:
        super().__init__()
        self.shallow = nn.Sequential(nn.Conv2D(3, 8, 3, 2, 1), nn.BatchNorm2D(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2D(8, 8, 3, 2, 1), nn.BatchNorm2D(8), nn.Hardswish())
        self.fused = nn.Conv2D(8, 8, 3, padding=1)
        self.up = nn.Conv2DTranspose(8, 1, 2, 2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.shallow(x)
        x = x + F.interpolate(self.deep(x), scale_factor=2, mode="nearest")
        return F.sigmoid(self.up(F.relu(self.fused(x))))


class Recognition(nn.Layer):
    """Columns of a line as a sequence: its width is free."""

    def __init__(self, recurrent: type[nn.Layer] | None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2D(3, 8, 3, 2, 1), nn.BatchNorm2D(8), nn.ReLU())
        self.depthwise, self.pointwise = nn.Conv2D(8, 8, 3, (2, 1), 1, groups=8), nn.Conv2D(8, 16, 1)
        self.recurrent = None if recurrent is None else recurrent(16, 8, direction="bidirect")
        self.head = nn.Linear(16, 11)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = F.hardswish(self.pointwise(F.relu(self.depthwise(self.stem(x)))))
        x = paddle.mean(x, axis=2).transpose([0, 2, 1])
        if self.recurrent is not None:
            x, _ = self.recurrent(x)
        return F.softmax(self.head(x), axis=-1)


NETS: dict[str, tuple[Callable[[], nn.Layer], list[int | None], tuple[int, ...]]] = {
    "detection": (Detection, [None, 3, None, None], (2, 3, 32, 64)),
    "recognition": (lambda: Recognition(None), [None, 3, 16, None], (2, 3, 16, 48)),
    "LSTM": (lambda: Recognition(nn.LSTM), [None, 3, 16, None], (2, 3, 16, 48)),
}
REFUSED = {("LSTM", "inference"): "full_with_tensor"}


@pytest.fixture(scope="module", params=NETS)
def quantized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ptq.QuantizeResult, np.ndarray]:
    make, shape, sizes = NETS[request.param]
    folder = tmp_path_factory.mktemp("program")
    paddle.seed(0)
    save(make(), folder / "model", shape)
    x = np.random.default_rng(0).random(sizes).astype("float32")
    result = ptq.quantize_model(folder / "model", [x], placement="full", progress=False)
    return request.param, result, x


@pytest.mark.parametrize("kind", ["jit", "onnx", "inference"])
def test_saved_or_refused(kind: str, quantized: tuple[str, ptq.QuantizeResult, np.ndarray], tmp_path: Path) -> None:
    warnings.filterwarnings("ignore", "(?s).*saturate", QuantizationWarning)  # what saving says on processors without int8 dot products
    name, result, x = quantized
    reason = REFUSED.get((name, kind))
    if reason is not None:
        with pytest.raises(ExportError, match=reason):
            result.save(tmp_path / "model", formats=(kind,), verbose=False)
        assert not list(tmp_path.iterdir())
        return
    result.save(tmp_path / "model", formats=(kind,), verbose=False)  # each format is run by its runtime and compared before it is kept
    manifest = json.loads((tmp_path / "model.ptq.json").read_text(encoding="utf-8"))
    assert manifest
    wider = np.concatenate([x, x], axis=3)[:1]
    with paddle.no_grad():
        expected = result.model(paddle.to_tensor(wider)).numpy()
    if kind == "jit":
        found = ptq.load(str(tmp_path / "model"))(paddle.to_tensor(wider)).numpy()
    elif kind == "onnx":
        runtime = pytest.importorskip("onnxruntime")
        options = runtime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = runtime.InferenceSession(str(tmp_path / "model.onnx"), options)
        found = session.run(None, {session.get_inputs()[0].name: wider})[0]
    else:
        found = ptq.export.create_int8_predictor(str(tmp_path / "model")).run([paddle.to_tensor(wider)])[0].numpy()
    assert found.shape == expected.shape  # another width and another batch than those of calibration
    assert 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum().clip(1e-20)) > 25
