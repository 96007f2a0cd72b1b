"""How those who make a cluster mark what they have noticed, among the lines that tell of their progress."""

from __future__ import annotations

NOTICE = "note: "
