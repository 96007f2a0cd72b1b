"""Names of clusters: short enough for links and cgroups, unique enough for a machine."""

from __future__ import annotations

import hashlib
import re

from koalesce.errors import UsageError

MAX_LENGTH = 20
PATTERN = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
_SHORT_RUN = 5
_SHORT_PART = 8


def cluster_name(spec: str, run_id: str, part: str = "") -> str:
    """A name for a cluster of a spec in a run: the spec's name and the end of the run's, 20 characters at most.

    `part` tells several clusters of a spec and the cells of its matrix apart; it stands between them, or a few letters for it.
    """
    run = re.sub(r"[^a-z0-9]", "", run_id.lower())[-_SHORT_RUN:] or "0"
    words = re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")
    if not words or not words[0].isalpha():
        words = f"c-{words}".rstrip("-")
    end = f"{_short(part)}-{run}" if part else run
    return f"{words[: MAX_LENGTH - len(end) - 1].rstrip('-')}-{end}"


def _short(part: str) -> str:
    """The words of a part where they are few enough, otherwise what is like no other's."""
    words = re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")
    digest = hashlib.sha256(part.encode()).hexdigest()
    return words if 0 < len(words) <= _SHORT_PART else digest[:_SHORT_PART]


def check_name(name: str) -> None:
    """Raise UsageError unless a cluster can be called so."""
    if not PATTERN.fullmatch(name):
        raise UsageError(
            f'"{name}" can\'t be the name of a cluster',
            hint=f"use 2 to {MAX_LENGTH} lower-case letters, digits and dashes, beginning with a letter",
        )
