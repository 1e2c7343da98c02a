"""Known traps of Paddle's built-in engine: the same probe falls into each with `paddle.quantization.ImperativePTQ`, and not with ours.

Every probe is written against the API that both share, and answers whether the trap snapped.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import data, randomize_norms, relative
from paddle import nn
from paddle.nn import functional as F  # noqa: N812
from paddle.quantization.imperative import ptq as built_in_engine
from paddle.quantization.imperative import ptq_config as built_in_config
from paddle.quantization.imperative import ptq_quantizer as built_in_quantizers
from paddle.static import InputSpec

import ptq
import quantizers
from ptq.graph.tracing import trace
from ptq.registry import PTQRegistry
from quantizers.errors import AlreadyQuantizedError, NonFiniteError, QuantizationWarning


@dataclass
class Api:
    """The names that the built-in and ours share."""

    engine: Any
    config: Any
    quantizers: Any

    def absmax(self) -> Any:
        """An engine with abs-max thresholds."""
        return self.engine(self.config(self.quantizers.AbsmaxQuantizer(), self.quantizers.PerChannelAbsmaxQuantizer()))

    def converted(self, model: nn.Layer, *batches: paddle.Tensor, **options: Any) -> nn.Layer:
        """The model after calibration and conversion."""
        engine = self.absmax()
        model = engine.quantize(model, **options)
        for batch in batches:
            model(batch)
        engine._convert(model)
        return model


OURS = Api(ptq.ImperativePTQ, ptq.PTQConfig, quantizers)
BUILT_IN = Api(built_in_engine.ImperativePTQ, built_in_config.PTQConfig, built_in_quantizers)


class Model(nn.Layer):
    """Holds a convolution or Linear that ``forward`` can be told to pass by."""

    def __init__(self, layer: nn.Layer, unused: nn.Layer | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.unused = unused

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.layer(x)


def thresholds_double(api: Api) -> bool:
    """Calling ``cal_thresholds`` twice appends a second threshold."""
    quantizer = api.quantizers.KLQuantizer()
    quantizer.sample_data(None, (data(1000),))
    quantizer.cal_thresholds()
    first = list(quantizer.thresholds)
    quantizer.cal_thresholds()
    return len(first) != 1 or list(quantizer.thresholds) != first


def uncalled_layer_is_ruined(api: Api) -> bool:
    """A layer that no calibration data reached gets an arbitrary scale, and answers nonsense."""
    model = Model(nn.Linear(4, 4), nn.Linear(4, 4))
    x = data(8, 4)
    expected = model.unused(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)
        quantized = api.converted(model, x)
    return relative(quantized.unused(x), expected) > 0.05


def uncalled_layer_is_not_mentioned(api: Api) -> bool:
    """Nothing tells that no calibration data reached a layer."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        api.converted(Model(nn.Linear(4, 4), nn.Linear(4, 4)), data(8, 4))
    return not any("unused" in str(warning.message) for warning in caught)


def twins_start_in_train_mode(api: Api) -> bool:
    """In train mode the built-in's twins keep changing their scale with every input."""
    model = Model(nn.Linear(4, 4))
    model.eval()
    return bool(api.converted(model, data(8, 4)).layer.training)


def linear_fold_is_wrong(api: Api) -> bool:
    """Folding a batch norm into a Linear scales inputs instead of outputs."""
    model = randomize_norms(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1D(4)))
    x = data(8, 4)
    fused = api.absmax().quantize(model, fuse=True, fuse_list=[["0", "1"]])
    return relative(fused(x), model(x)) > 1e-4


class Doubled(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.linear(x, self.weight, self.bias) * 2 + 1


def subclass_loses_its_forward(api: Api) -> bool:
    """A user's subclass is swapped for the twin of its base, and its own ``forward`` is gone."""
    model = nn.Sequential(Doubled(4, 4), nn.Linear(4, 4))
    x = data(8, 4)
    expected = model[0](x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuantizationWarning)
        quantized = api.converted(model, x)
    return relative(quantized[0](x), expected) > 0.05


def alias_is_swapped_once(api: Api) -> bool:
    """Of a layer with two names, only one is swapped; the other stays float."""

    class Tied(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.second = self.first

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return self.second(self.first(x))

    quantized = api.converted(Tied(), data(8, 4))
    return quantized.first is not quantized.second


def nan_is_forgotten(api: Api) -> bool:
    """NaN in the first batch is lost when a finite batch follows."""
    quantizer = api.quantizers.AbsmaxQuantizer()
    try:
        for batch in (paddle.to_tensor([1.0, float("nan")]), paddle.to_tensor([2.0, 3.0])):
            with contextlib.suppress(NonFiniteError):
                quantizer.sample_data(None, (batch,))
        quantizer.cal_thresholds()
    except NonFiniteError:
        return False
    return bool(np.isfinite(quantizer.thresholds[0]))


def percentile_is_negative(api: Api) -> bool:
    """A percentile in the first bin becomes minus half a bin; and with NumPy 2 the built-in cannot even compute it."""
    values = np.zeros(100000, dtype="float32")
    values[0] = 1.0
    quantizer = api.quantizers.HistQuantizer(hist_percent=0.9)
    quantizer.sample_data(None, (paddle.to_tensor(values),))
    try:
        quantizer.cal_thresholds()
    except TypeError:
        return True
    return bool(quantizer.thresholds[0] < 0)


def second_quantize_adds_hooks(api: Api) -> bool:
    """Quantizing a prepared model again samples everything twice."""
    model = api.absmax().quantize(Model(nn.Linear(4, 4)))
    with contextlib.suppress(AlreadyQuantizedError):
        model = api.absmax().quantize(model)
    return len(model.layer._forward_post_hooks) > 1


def keyword_call_breaks(api: Api) -> bool:
    """A layer called by keyword gives a plain post-hook no inputs."""

    class ByKeyword(Model):
        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return self.layer(input=x)

    model, x = ByKeyword(nn.Linear(4, 4)), data(8, 4)
    return relative(api.converted(model, x)(x), model(x)) > 0.05


def root_is_left_float(api: Api) -> bool:
    """A model that is itself a Linear is not quantized."""
    engine = api.absmax()
    model = engine.quantize(nn.Linear(4, 4))
    model(data(8, 4))
    quantized = engine._convert(model)
    return type(model if quantized is None else quantized) is nn.Linear


def saving_fails(api: Api) -> bool:
    """`save_quantized_model` raises under the program format of Paddle 3."""
    engine = api.absmax()
    model = engine.quantize(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    model(data(8, 4))
    try:
        with tempfile.TemporaryDirectory() as folder:
            engine.save_quantized_model(model, f"{folder}/model", input_spec=[InputSpec([None, 4], "float32")])
            return not Path(f"{folder}/model.pdiparams").is_file()
    except Exception:
        return True
    finally:
        paddle.disable_static()


TRAPS = [
    thresholds_double,
    uncalled_layer_is_ruined,
    uncalled_layer_is_not_mentioned,
    twins_start_in_train_mode,
    linear_fold_is_wrong,
    subclass_loses_its_forward,
    alias_is_swapped_once,
    nan_is_forgotten,
    percentile_is_negative,
    second_quantize_adds_hooks,
    keyword_call_breaks,
    root_is_left_float,
    saving_fails,
]


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_ours_does_not_have_it(trap: Callable[[Api], bool]) -> None:
    assert not trap(OURS)


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_the_built_in_still_has_it(trap: Callable[[Api], bool]) -> None:
    """Holds on Paddle 3.2 and 3.3.  Where it fails Paddle has improved: the probe then belongs in an ordinary test."""
    assert trap(BUILT_IN)


class Functional(nn.Layer):
    """An addition, a concatenation and a ReLU as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.other = nn.Linear(4, 4), nn.Linear(8, 4)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.other(paddle.concat([F.relu(self.fc(x)), self.fc(x) + x], axis=1))


def test_functional_operations_are_seen_by_the_graph_and_not_by_hooks() -> None:
    hooked = BUILT_IN.absmax().quantize(Functional())
    names = {name for name, layer in hooked.named_sublayers() if layer._forward_post_hooks}
    assert names == {"fc", "other"}  # all that the built-in ever sees
    operations = {op.name.rstrip("_") for op in trace(Functional(), [InputSpec([None, 4], "float32")]).ops}
    assert {"pd_op.relu", "pd_op.add", "pd_op.concat"} <= operations


def test_the_built_in_supports_fewer_layers() -> None:
    """What the built-in ignores without a word."""
    from paddle.quantization.imperative.ptq_registry import PTQRegistry as BuiltInRegistry

    ignored = (nn.Conv1D, nn.Conv3D, nn.Conv2DTranspose, nn.Conv1DTranspose, nn.Conv3DTranspose)
    for layer in ignored:
        assert not BuiltInRegistry.is_supported_layer(layer), layer
        assert PTQRegistry.is_simulated_quant_layer(layer), layer
