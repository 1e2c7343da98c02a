"""One measurement, as it is handed to a process of its own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from ..runtimes.profile import INT8, is_int8
from .artifact import Input

__all__ = ["Task"]


@dataclass(frozen=True)
class Task:
    """What to measure.

    ``action``: ``"time"``, ``"memory"`` or ``"profile"``; ``label``: which alternative, where only one is meant; ``inputs``: without
    free sizes; ``rounds``, ``seconds``: see `interleave`.
    """

    action: str
    runtime: str
    int8: str
    floats: str
    inputs: tuple[Input, ...]
    threads: int
    rounds: int = 0
    seconds: float = 0.0
    label: str = INT8

    def as_json(self) -> str:
        """The task as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """What `as_json` wrote."""
        values = json.loads(text)
        inputs = tuple(Input(tuple(item["shape"]), item["dtype"]) for item in values.pop("inputs"))
        return cls(inputs=inputs, **values)

    def environment(self) -> dict[str, str]:
        """Variables for the process: the threads of OpenMP, and that they stop spinning after a millisecond."""
        return {"OMP_NUM_THREADS": str(self.threads), "KMP_BLOCKTIME": "1", "GLOG_minloglevel": "2"}

    def prefix(self, label: str) -> str:
        """The artifact that belongs to an alternative."""
        return self.int8 if is_int8(label) else self.floats
