"""Runs every benchmark, one after the other; what cannot run here is left out by name, and the others go on.

    python -m benchmarks.run_all

Tables that take hours are asked for by their own commands; here a short part of them is run.  The exit status is that of the worst: 1 when
one failed, 3 when one was left out, else 0.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["LEFT_OUT", "SHORT", "main", "names"]

# What a script exits with when something that it needs is not here; it has said what.
LEFT_OUT = 3

SHORT = {"benchmarks.bench_accuracy": ("*/none/*",), "benchmarks.bench_qat": ("--steps",)}
"""Arguments that choose the short part."""


def names() -> list[str]:
    """The modules of all benchmarks."""
    return [f"benchmarks.{path.stem}" for path in sorted(Path(__file__).parent.glob("bench_*.py"))]


def _run(name: str) -> int:
    return subprocess.run([sys.executable, "-W", "ignore:No ccache found", "-m", name, *SHORT.get(name, ())], check=False).returncode


def main(chosen: Sequence[str], run: Callable[[str], int] = _run) -> int:
    """Runs them and says in the end what became of each."""
    found: dict[str, int] = {}
    for name in chosen:
        print(f"== {name}", flush=True)
        found[name] = run(name)
    words = {0: "done", LEFT_OUT: "left out: it needs what is not here, see above"}
    print("== summary")
    for name, status in found.items():
        print(f"{name}: {words.get(status, f'failed with exit status {status}')}")
    if any(status not in words for status in found.values()):
        return 1
    return LEFT_OUT if LEFT_OUT in found.values() else 0


if __name__ == "__main__":
    sys.exit(main(names()))
