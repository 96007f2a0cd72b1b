"""Whether what an assertion misses in an object's status can still come: a pod that runs, replicas that are ready, a Job that completes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from koalesce.matching.mismatch import Mismatch
from koalesce.patterns import pattern
from koalesce.steps.base import Errored, Failed, Passed, StepContext
from koalesce.steps.objects.reading import Reader
from koalesce.steps.workloads.prospects import is_end
from koalesce.steps.workloads.readiness import job, pod, workload
from koalesce.steps.workloads.rollout import DECIDERS

_COUNTS = pattern(r"\.status\.(readyReplicas|availableReplicas|numberReady|numberAvailable|updatedNumberScheduled)")
_CONDITION = pattern(r"\.status\.conditions\[(\d+)\]\.status")
_NUMBER = pattern(r"(?:[≥>] )?(\d+)")


def with_prospects(
    failed: Failed, context: StepContext, obj: Mapping[str, Any], found: Sequence[Mismatch]
) -> Failed | Errored:
    """The failure of an assertion; if what it misses can no longer come, the end of the wait with the reason."""
    if context.patient or not any(_is_about_readiness(obj, mismatch) for mismatch in found):
        return failed
    reader = Reader.of(context)
    look = workload if obj["kind"] in DECIDERS else {"Pod": pod, "Job": job}[obj["kind"]]
    end = look(reader, obj)
    if isinstance(end, Passed) or not is_end(end):
        return failed
    said = f"{failed.message}; {end.message}"
    if isinstance(end, Errored):
        return replace(end, message=said, detail="\n".join(filter(None, (failed.detail, end.detail))))
    return replace(failed, message=said, final=end.final, final_after=end.final_after)


def _is_about_readiness(obj: Mapping[str, Any], missed: Mismatch) -> bool:
    """Whether a difference goes away only when pods run, become ready or complete."""
    kind = obj["kind"]
    if kind in DECIDERS:
        return bool(_COUNTS.fullmatch(missed.path)) and _is_more(missed.expected, missed.actual)
    if kind == "Pod":
        is_phase = missed.path == ".status.phase" and missed.expected == '"Running"'
        is_container = missed.path.startswith(".status.containerStatuses") and missed.path.endswith(".ready")
        return is_phase or (is_container and missed.expected == "true") or _is_condition(obj, missed, "Ready")
    return kind == "Job" and (_is_condition(obj, missed, "Complete") or missed.path == ".status.succeeded")


def _is_condition(obj: Mapping[str, Any], missed: Mismatch, name: str) -> bool:
    """Whether it's this condition that isn't True, be it found by its type, by its place, or not at all."""
    if '"True"' not in missed.expected:
        return False
    if at := _CONDITION.fullmatch(missed.path):
        return bool(obj["status"]["conditions"][int(at[1])].get("type") == name)
    return missed.path.startswith(".status.conditions") and f'"{name}"' in missed.path + missed.expected


def _is_more(expected: str, actual: str) -> bool:
    wanted = _NUMBER.fullmatch(expected)
    there = int(actual) if actual.isdigit() else 0
    return wanted is not None and int(wanted[1]) > there
