"""Tests that take minutes and tell little more than shorter ones beside them: `make test-all` runs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

IS_LONG = bool(os.environ.get("KOALESCE_LONG"))
LONG = (pytest.mark.extra, pytest.mark.skipif(not IS_LONG, reason="takes minutes; `make test-all` runs it"))


def long(test: Callable[..., Any]) -> Callable[..., Any]:
    """One such test."""
    for mark in LONG:
        test = mark(test)
    return test
