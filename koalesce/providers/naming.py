"""Names of clusters: short enough for links and cgroups, unique enough for a machine."""

from __future__ import annotations

import re

from koalesce.errors import UsageError

MAX_LENGTH = 20
PATTERN = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
_SHORT_RUN = 5


def cluster_name(spec: str, run_id: str) -> str:
    """A name for the cluster of a spec in a run: the spec's name and the end of the run's, 20 characters at most."""
    run = re.sub(r"[^a-z0-9]", "", run_id.lower())[-_SHORT_RUN:] or "0"
    words = re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")
    if not words or not words[0].isalpha():
        words = f"c-{words}".rstrip("-")
    return f"{words[: MAX_LENGTH - len(run) - 1].rstrip('-')}-{run}"


def check_name(name: str) -> None:
    """Raise UsageError unless a cluster can be called so."""
    if not PATTERN.fullmatch(name):
        raise UsageError(
            f'"{name}" can\'t be the name of a cluster',
            hint=f"use 2 to {MAX_LENGTH} lower-case letters, digits and dashes, beginning with a letter",
        )
