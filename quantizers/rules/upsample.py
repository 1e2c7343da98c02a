"""The one setting of Paddle's histogram quantizers that has no use here."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantizers.errors import ConfigError

__all__ = ["check_upsample_bins"]


def check_upsample_bins(value: Any) -> int:
    """Return ``value`` when it is a positive int, else raise ``ConfigError``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"upsample_bins must be a positive int, got {value!r}")
    return int(value)
