"""Tests that take minutes and tell little more than shorter ones beside them: `make test-all` runs them."""

from __future__ import annotations

import os

import pytest

IS_LONG = bool(os.environ.get("KOALESCE_LONG"))
LONG = (pytest.mark.extra, pytest.mark.skipif(not IS_LONG, reason="takes minutes; `make test-all` runs it"))
