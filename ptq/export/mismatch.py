"""What becomes of files whose check failed: refused, or kept by one who knows."""

from __future__ import annotations

from quantizers.errors import ConfigError, MismatchError

from ..util.messages import warn

__all__ = ["KEEP", "RAISE", "checked_choice", "settle"]

RAISE, KEEP = "raise", "keep"
ADVICE = "it was not kept (whoever knows better keeps it with on_mismatch='keep')"


def checked_choice(on_mismatch: str) -> str:
    """The choice itself.

    Raises:
        ConfigError: it is none.
    """
    if on_mismatch not in (RAISE, KEEP):
        raise ConfigError(f"on_mismatch must be 'raise' or 'keep', got {on_mismatch!r}")
    return on_mismatch


def settle(mismatch: str, on_mismatch: str) -> None:
    """Raises for a failed check, or warns where the files are to be kept all the same; an empty ``mismatch`` is a check that passed.

    Raises:
        MismatchError: the check failed, and the files are not to be kept.
    """
    if not mismatch:
        return
    if on_mismatch != KEEP:
        raise MismatchError(f"{mismatch}; {ADVICE}")
    warn(f"kept although the check failed: {mismatch}")
