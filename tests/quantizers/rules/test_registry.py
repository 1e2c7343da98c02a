"""Quantizers written as JSON and read back; the public surface."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import quantizers
from quantizers import (
    SUPPORT_ACT_QUANTIZERS,
    SUPPORT_WT_QUANTIZERS,
    BaseQuantizer,
    HistQuantizer,
    KLQuantizer,
    MinMaxQuantizer,
    PerChannelAbsmaxQuantizer,
    quantizer_from_settings,
    register_quantizer,
)
from quantizers.errors import ConfigError

ALL = list(dict.fromkeys([*SUPPORT_ACT_QUANTIZERS, *SUPPORT_WT_QUANTIZERS]))
UNUSUAL = {
    "quant_bits": 5,
    "bins": 128,
    "symmetric": True,
    "max_samples_per_item": None,
    "upsample_bins": 7,
    "hist_percent": 0.9,
    "mse_guard": False,
    "moving_rate": 0.3,
    "quant_axis": 1,
    "candidates": [MinMaxQuantizer(5, bins=64)],
}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_settings_round_trip(kind):
    for quantizer in (kind(), kind(**{key: UNUSUAL[key] for key in kind().settings() if key != "type"})):
        settings = json.loads(json.dumps(quantizer.settings()))
        back = quantizer_from_settings(settings)
        assert type(back) is kind
        assert back.settings() == quantizer.settings() == settings
    for key in settings.keys() - {"type"}:
        expected = [candidate.settings() for candidate in UNUSUAL[key]] if key == "candidates" else UNUSUAL[key]
        assert settings[key] == expected


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_setting_matters_to_the_constructor(kind):
    assert quantizer_from_settings({"type": kind.__name__}).settings() == kind().settings()
    with pytest.raises(ConfigError, match="colour"):
        quantizer_from_settings({"type": kind.__name__, "colour": 1})
    with pytest.raises(ConfigError, match="quant_bits"):
        quantizer_from_settings({"type": kind.__name__, "quant_bits": 99})


@pytest.mark.parametrize("name", ["NoSuchQuantizer", None, 3, ["KLQuantizer"]])
def test_unknown_types(name):
    with pytest.raises(ConfigError, match="KLQuantizer"):
        quantizer_from_settings({"type": name})


def test_a_quantizer_of_ones_own():
    @register_quantizer
    class ThreeSigmaQuantizer(BaseQuantizer):
        def sample_data(self, layer, tensors):  # noqa: ARG002
            self.thresholds = [3 * float(np.std(t)) for t in tensors]

        def cal_thresholds(self):
            pass

    assert register_quantizer(ThreeSigmaQuantizer) is ThreeSigmaQuantizer
    back = quantizer_from_settings(ThreeSigmaQuantizer(4).settings())
    assert (type(back), back.quant_bits) == (ThreeSigmaQuantizer, 4)
    with pytest.raises(ConfigError, match="already"):
        register_quantizer(type("KLQuantizer", (BaseQuantizer,), {}))
    with pytest.raises(ConfigError, match="BaseQuantizer"):
        register_quantizer(int)
    assert type(quantizer_from_settings({"type": "KLQuantizer"})) is KLQuantizer


def test_arguments_by_position_as_in_paddle():
    kl, hist = KLQuantizer(4, 512, 32), HistQuantizer(4, 512, 32, 0.99)
    assert (kl.quant_bits, kl.bins, kl.upsample_bins) == (4, 512, 32)
    assert (hist.quant_bits, hist.bins, hist.upsample_bins, hist.hist_percent) == (4, 512, 32, 0.99)
    assert PerChannelAbsmaxQuantizer(4).quant_bits == 4


def test_public_names_exist():
    for name in quantizers.__all__:
        assert hasattr(quantizers, name)


def test_import_loads_neither_the_engine_nor_paddle():
    root = Path(quantizers.__file__).parents[1]
    code = "import sys, quantizers; print(sorted({'ptq', 'paddle', 'onnx', 'matplotlib', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
