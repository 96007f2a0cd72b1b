"""What all tests share."""

from __future__ import annotations

import os
import random
import signal
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_WHOLE_MACHINE = ("tests/cluster/", "tests/specs/")


def pytest_configure() -> None:
    """Take signals as at a terminal, for us and for what tests start: background jobs of a shell begin with some ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITLAB_CI"):  # output is as anywhere else
        os.environ.pop(name, None)
    # Tests have the same names wherever they are collected: what is random in them is drawn once.
    os.environ.setdefault("KOALESCE_CRASH_SEED", str(random.SystemRandom().randrange(1, 1_000_000)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Where tests run side by side (`-n 2`): those that make clusters one after another, and the others beside them."""
    return _OneMachine(config, log)


class _OneMachine(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return "whole machine" if nodeid.startswith(_WHOLE_MACHINE) else nodeid.partition("::")[0]
