"""What all tests share."""

from __future__ import annotations

import os
import random
import signal
from typing import Any

import pytest

from tests.scheduling import Lanes


def pytest_configure() -> None:
    """Take signals as at a terminal, for us and for what tests start: background jobs of a shell begin with some ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITLAB_CI"):  # output is as anywhere else
        os.environ.pop(name, None)
    # Tests have the same names wherever they are collected: what is random in them is drawn once.
    os.environ.setdefault("KOALESCE_CRASH_SEED", str(random.SystemRandom().randrange(1, 1_000_000)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    """Where tests run side by side (`-n 3`): some workers make clusters, the others run what needs none."""
    return Lanes(config, log)
