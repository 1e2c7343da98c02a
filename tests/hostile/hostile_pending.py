"""Cases whose error has no name yet; a case that gets one must be taken off this list."""

PENDING: frozenset[str] = frozenset()
