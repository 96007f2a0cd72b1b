"""What all tests share."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Take ^C as at a terminal, for us and for the programs that tests start: background jobs of a shell begin with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
