"""A crash of native code shows where it happened: Paddle's own handlers write into the test's captured output, lost with its process."""

from __future__ import annotations

import faulthandler

import paddle
import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key


def pytest_configure(config: pytest.Config) -> None:
    paddle.disable_signal_handler()
    if fault_handler_stderr_fd_key in config.stash:
        faulthandler.enable(file=config.stash[fault_handler_stderr_fd_key])
