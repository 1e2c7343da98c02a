"""An independent oracle: plain loops over Python floats (float64), written from the definitions, sharing no code with the package."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


def grid_bounds(bits, signed, narrow):
    """Smallest and largest integer of a grid."""
    if not signed:
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + (1 if narrow else 0), 2 ** (bits - 1) - 1


def float32(value):
    """``value`` rounded to float32, as a Python float."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def scale_of(width, levels):
    """The float32 scale that divides ``width`` into ``levels`` steps."""
    if width == 0:
        return 1.0
    return float32(min(max(width / levels, 2.0**-126), 3.4028234663852886e38))


def asymmetric(low, high, bits):
    """Scale and zero point of the unsigned grid over [low, high] with zero included."""
    low, high = min(low, 0.0), max(high, 0.0)
    top = 2**bits - 1
    scale = scale_of(high - low, top)
    return scale, min(max(round(-low / scale), 0), top)


def quantize(x, scale, zero_point, low, high):
    """One number to one integer: float32 division, half to even, clip."""
    ratio = float32(float32(x) / scale)
    if math.isinf(ratio):
        return high if ratio > 0 else low
    return min(max(round(ratio) + zero_point, low), high)


def fake_quantize(x, scale, zero_point, low, high):
    """One number to the nearest one of the grid."""
    return float32((quantize(x, scale, zero_point, low, high) - zero_point) * scale)


def exponent(abs_max, size):
    """Smallest exponent of a bin width (from -149 up) at which ``size`` bins reach beyond ``abs_max``."""
    e = -149
    while not Fraction(abs_max) < size * Fraction(2) ** e:
        e += 1
    return e


def histogram(values, bins):
    """(exponent, zeros, positive counts, negative counts) of floats with 2 * bins bins."""
    size = 2 * bins
    e = exponent(max((abs(float(v)) for v in values), default=0.0), size)
    counts = [[0] * size, [0] * size]
    zeros = 0
    for value in values:
        value = float(value)
        if value == 0:
            zeros += 1
        else:
            counts[value < 0][math.floor(Fraction(abs(value)) / Fraction(2) ** e)] += 1
    return e, zeros, counts[0], counts[1]


def percentile(counts, zeros, width, fraction, abs_max):
    """Magnitude that a fraction of all elements do not exceed, interpolated inside its bin."""
    wanted = fraction * (sum(counts) + zeros)
    if fraction == 1 or wanted <= zeros:
        return abs_max
    seen = zeros
    for k, count in enumerate(counts):
        if count and seen + count >= wanted:
            return min((k + (wanted - seen) / count) * width, abs_max)
        seen += count
    return abs_max


def kl_divergence(counts, levels, cut):
    """KL(P || Q) for one cut, bin by bin."""
    total, kept = sum(counts), sum(counts[:cut])
    p = list(counts[:cut])
    p[-1] += total - kept
    mass, filled = [0] * levels, [0] * levels
    for k in range(cut):
        group = levels * k // cut
        mass[group] += counts[k]
        filled[group] += p[k] > 0
    divergence = 0.0
    for k in range(cut):
        if p[k] > 0:
            group = levels * k // cut
            if mass[group] == 0:
                return math.inf
            q = mass[group] / filled[group]
            divergence += p[k] / total * math.log((p[k] / total) / (q / kept))
    return divergence


def kl_all(counts, levels, step):
    """{cut: divergence} over the cuts n, n - step, ... down to levels."""
    return {cut: kl_divergence(counts, levels, cut) for cut in range(len(counts), levels - 1, -step)}


def points_of(exponent_, positive, negative):
    """[(bin centre, count)] of both signs."""
    width = 2.0**exponent_
    points = [((k + 0.5) * width, count) for k, count in enumerate(positive) if count]
    return points + [(-(k + 0.5) * width, count) for k, count in enumerate(negative) if count]


def mean_error(points, zeros, scale, zero_point, low, high, power):
    """Mean of |x - fake_quantize(x)| ** power over weighted points, in float64."""
    total = zeros + sum(count for _, count in points)
    loss = 0.0
    for x, count in points:
        q = min(max(round(x / scale) + zero_point, low), high)
        loss += count * abs(x - (q - zero_point) * scale) ** power
    return loss / total


def mean(values):
    """Exactly rounded mean of float32 numbers."""
    return float(sum(Fraction(float(v)) for v in values) / len(values))


def sample_positions(size, limit):
    """Positions within one sample that feed the histogram."""
    if limit is None or size <= limit:
        return list(range(size))
    stride = math.ceil(size / limit)
    while any(stride % d == 0 and size % d == 0 for d in range(2, stride + 1)):
        stride += 1
    return list(range(0, size, stride))
