"""The argument that names formats."""

from __future__ import annotations

import argparse

from quantizers.errors import ConfigError

from ..export.formats import FORMATS, JIT, formats_named

__all__ = ["ALL_FORMATS", "formats"]

ALL_FORMATS = (JIT, *FORMATS)


def formats(text: str) -> tuple[str, ...]:
    """Names separated by commas; what is none becomes an error of the command line."""
    names = tuple(text.split(","))
    try:
        formats_named(names)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return names
