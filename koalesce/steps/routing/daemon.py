"""What has become of the program of a router that gives no answer."""

from __future__ import annotations

from koalesce.cluster import Fixture
from koalesce.errors import KoalesceError
from koalesce.process import Cancel
from koalesce.steps.objects.reading import shortened

_PROCESSES = {"bird": "bird", "frr": "bgpd", "gobgpd": "gobgpd"}
_NONE = 1  # what pgrep(1) ends with where there is no such process
_PATIENCE = 5.0


def fate(router: Fixture, cancel: Cancel) -> str:
    """Why a router has no answer: its program doesn't run, with what stands last in its log; empty if that isn't why."""
    name = _PROCESSES.get(router.program, "")
    try:
        if not name or router.run(["pgrep", "-x", name], timeout=_PATIENCE, cancel=cancel).code != _NONE:
            return ""
        last = _last_line(router, name, cancel)
    except KoalesceError as error:
        return error.message
    return f"{name} doesn't run{f'; its log ends with: {last}' if last else ''}"


def _last_line(router: Fixture, name: str, cancel: Cancel) -> str:
    if name not in router.logs:
        return ""
    said = router.run(router.logs[name], timeout=_PATIENCE, cancel=cancel).out.strip()
    return shortened(said.rpartition("\n")[2])
