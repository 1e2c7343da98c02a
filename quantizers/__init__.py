"""Numbers only: from tensors to statistics, from statistics to thresholds, from thresholds to integer grids."""

from __future__ import annotations

from quantizers.absmax import AbsmaxQuantizer
from quantizers.arrays import as_float_array
from quantizers.auto import AutoQuantizer
from quantizers.average import AvgAbsmaxQuantizer
from quantizers.base import BaseQuantizer
from quantizers.emd import EMDQuantizer
from quantizers.grid_error import absolute_error, squared_error
from quantizers.hist import HistQuantizer
from quantizers.histogram import PowerOfTwoHistogram
from quantizers.kl import KLQuantizer
from quantizers.minmax import MinMaxQuantizer
from quantizers.moving_average import MovingAverageAbsmaxQuantizer
from quantizers.mse import MSEQuantizer
from quantizers.per_channel import PerChannelQuantizer, default_quant_axis
from quantizers.per_channel_absmax import PerChannelAbsmaxQuantizer
from quantizers.per_channel_hist import PerChannelHistQuantizer
from quantizers.per_channel_mse import PerChannelMSEQuantizer
from quantizers.qparams import QParams, QuantSpec
from quantizers.ranges import GridKind, Range, grid_of_range
from quantizers.registry import SUPPORT_ACT_QUANTIZERS, SUPPORT_WT_QUANTIZERS, quantizer_from_settings, register_quantizer
from quantizers.statistics import TensorStatistics
from quantizers.statistics_quantizer import StatisticsQuantizer
from quantizers.summary import SummarySettings, TensorSummary

__all__ = [
    "SUPPORT_ACT_QUANTIZERS",
    "SUPPORT_WT_QUANTIZERS",
    "AbsmaxQuantizer",
    "AutoQuantizer",
    "AvgAbsmaxQuantizer",
    "BaseQuantizer",
    "EMDQuantizer",
    "GridKind",
    "HistQuantizer",
    "KLQuantizer",
    "MSEQuantizer",
    "MinMaxQuantizer",
    "MovingAverageAbsmaxQuantizer",
    "PerChannelAbsmaxQuantizer",
    "PerChannelHistQuantizer",
    "PerChannelMSEQuantizer",
    "PerChannelQuantizer",
    "PowerOfTwoHistogram",
    "QParams",
    "QuantSpec",
    "Range",
    "StatisticsQuantizer",
    "SummarySettings",
    "TensorStatistics",
    "TensorSummary",
    "absolute_error",
    "as_float_array",
    "default_quant_axis",
    "grid_of_range",
    "quantizer_from_settings",
    "register_quantizer",
    "squared_error",
]
