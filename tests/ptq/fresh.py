"""Running code in a Python process that knows nothing of the test's."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import paddle

ROOT = Path(__file__).resolve().parents[2]


def run_python(arguments: list[str], seconds: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs Python with ``arguments``; the answer holds the end of what it printed."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True, timeout=seconds, check=False, **options
    )
    process.stdout, process.stderr = process.stdout[-3000:], process.stderr[-3000:]
    return process


def script(folder: Path, body: str, name: str = "script.py") -> Path:
    """Writes a script that finds this project, and nothing of the tests."""
    path = folder / name
    path.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{textwrap.dedent(body)}", encoding="utf-8")
    return path


def answers_of(prefix: Path, x: paddle.Tensor, folder: Path) -> paddle.Tensor:
    """What plain `paddle.jit.load` answers in a fresh process that never imports this project."""
    np.save(folder / "x.npy", x.numpy())
    path = folder / "load.py"
    path.write_text(
        textwrap.dedent(f"""
        import numpy, paddle, sys
        model = paddle.jit.load({str(prefix)!r})
        model.eval()
        numpy.save({str(folder / "y.npy")!r}, model(paddle.to_tensor(numpy.load({str(folder / "x.npy")!r}))).numpy())
        assert "ptq" not in sys.modules
        """),
        encoding="utf-8",
    )
    process = run_python([str(path)], cwd=folder)
    assert process.returncode == 0, process.stderr
    return paddle.to_tensor(np.load(folder / "y.npy"))
