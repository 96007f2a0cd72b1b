"""What all tests share."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take signals as at a terminal, for us and for what tests start: background jobs of a shell begin with some ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
