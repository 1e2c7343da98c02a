"""Numbers only: from tensors to statistics, from statistics to thresholds, from thresholds to integer grids."""

from __future__ import annotations

from quantizers.grids.channel_grid import channel_grid, one_scale
from quantizers.grids.grid_error import absolute_error, squared_error
from quantizers.grids.qparams import QParams, QuantSpec
from quantizers.grids.ranges import GridKind, Range, grid_of_range
from quantizers.rules.absmax import AbsmaxQuantizer
from quantizers.rules.auto import AutoQuantizer
from quantizers.rules.average import AvgAbsmaxQuantizer
from quantizers.rules.base import BaseQuantizer
from quantizers.rules.emd import EMDQuantizer
from quantizers.rules.hist import HistQuantizer
from quantizers.rules.kl import KLQuantizer
from quantizers.rules.minmax import MinMaxQuantizer
from quantizers.rules.moving_average import MovingAverageAbsmaxQuantizer
from quantizers.rules.mse import MSEQuantizer
from quantizers.rules.per_channel import PerChannelQuantizer, default_quant_axis
from quantizers.rules.per_channel_absmax import PerChannelAbsmaxQuantizer
from quantizers.rules.per_channel_hist import PerChannelHistQuantizer
from quantizers.rules.per_channel_mse import PerChannelMSEQuantizer
from quantizers.rules.registry import SUPPORT_ACT_QUANTIZERS, SUPPORT_WT_QUANTIZERS, quantizer_from_settings, register_quantizer
from quantizers.rules.statistics_quantizer import StatisticsQuantizer
from quantizers.statistics.arrays import as_float_array
from quantizers.statistics.channels import ChannelRanges, ItemRanges
from quantizers.statistics.histogram import PowerOfTwoHistogram
from quantizers.statistics.summary import SummarySettings, TensorSummary
from quantizers.statistics.tensor import TensorStatistics

__all__ = [
    "SUPPORT_ACT_QUANTIZERS",
    "SUPPORT_WT_QUANTIZERS",
    "AbsmaxQuantizer",
    "AutoQuantizer",
    "AvgAbsmaxQuantizer",
    "BaseQuantizer",
    "ChannelRanges",
    "EMDQuantizer",
    "GridKind",
    "HistQuantizer",
    "ItemRanges",
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
    "channel_grid",
    "default_quant_axis",
    "grid_of_range",
    "one_scale",
    "quantizer_from_settings",
    "register_quantizer",
    "squared_error",
]
