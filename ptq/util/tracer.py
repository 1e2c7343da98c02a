"""The lock of Paddle's tracer, which is one for the whole process."""

from __future__ import annotations

import threading

__all__ = ["TRACER"]

# Held by whoever has Paddle trace a model, saving it included; a thread that holds it may take it again.
TRACER = threading.RLock()
