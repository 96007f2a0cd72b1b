from __future__ import annotations

from typing import Any

import pytest

from koalesce.kube.history import Move, chains, transitions


def told(old: Any, new: Any) -> list[str]:
    return [str(move) for move in transitions(old, new)]


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "uid": "1"}, "status": status}


def test_an_object_comes_and_goes() -> None:
    assert told(None, pod()) == ["created"]
    assert told(pod(), None) == ["deleted"]


def test_conditions_tell_why_they_are_not_true() -> None:
    old = pod(conditions=[{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}])
    new = pod(conditions=[{"type": "Ready", "status": "True", "reason": "Fine"}, {"type": "New", "status": "Unknown"}])

    assert told(old, new) == ["New: missing -> Unknown", "Ready: False (ContainersNotReady) -> True"]


def test_what_an_object_begins_with_is_no_change() -> None:
    old = pod()
    new = pod(
        phase="Pending", readyReplicas=0, conditions=[{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"},
                                                           {"type": "Started", "status": "True"}],
        containerStatuses=[{"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}],
    )  # fmt: skip

    assert told(old, new) == ["Started: missing -> True"]


def test_plain_fields_of_the_status_are_told() -> None:
    old, new = pod(phase="Pending", addresses=[1]), pod(phase="Running", readyReplicas=2, addresses=[2])

    assert told(old, new) == ["phase: Pending -> Running", "readyReplicas: unset -> 2"]


def test_containers_that_crash_are_told() -> None:
    old = pod(containerStatuses=[{"name": "app", "restartCount": 0, "state": {"running": {}}}])
    new = pod(
        containerStatuses=[{"name": "app", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    )

    assert told(old, new) == [
        "container app: running -> waiting (CrashLoopBackOff)",
        "container app restarts: 0 -> 1",
    ]


def test_deletion_that_has_begun_and_replacement_are_told() -> None:
    old = pod()
    leaving = {"metadata": {"name": "web", "uid": "1", "deletionTimestamp": "now"}}
    other = {"metadata": {"name": "web", "uid": "2"}}

    assert told(old, leaving) == ["deletion began"]
    assert told(old, other) == ["replaced by a new object of this name"]


def test_an_odd_status_of_a_custom_resource_is_no_trouble() -> None:
    old = {"metadata": {"name": "w"}, "status": "fine"}
    new = {"metadata": {"name": "w"}, "status": {"conditions": "none", "containerStatuses": [1]}}

    assert told(old, new) == ["conditions: unset -> none"]


def test_a_new_spec_is_told() -> None:
    old, new = pod(), pod()
    old["metadata"]["generation"], new["metadata"]["generation"] = 1, 2

    assert told(old, new) == ["spec generation: 1 -> 2"]


def test_init_containers_are_told_as_such() -> None:
    old = pod(initContainerStatuses=[{"name": "i", "state": {"running": {}}}])
    new = pod(initContainerStatuses=[{"name": "i", "state": {"terminated": {"reason": "Error"}}}])

    assert told(old, new) == ["init container i: running -> terminated (Error)"]


def test_what_happened_to_one_thing_is_one_line() -> None:
    moves = [
        (0.01, "pod/web", Move("Ready", "False", "True")),
        (1.5, "pod/db", Move("", "", "deletion began")),
        (2.0, "pod/web", Move("Ready", "True", "False (gone)")),
        (2.0, "pod/web", Move("phase", "Running", "Failed")),
        (3.25, "pod/db", Move("", "", "deleted")),
    ]

    assert chains(moves) == [
        "pod/web Ready: False → True +0.0s → False (gone) +2.0s",
        "pod/db: deletion began +1.5s → deleted +3.2s",
        "pod/web phase: Running → Failed +2.0s",
    ]


@pytest.mark.parametrize("count", [5, 6, 40])
def test_of_many_states_the_first_and_the_last_are_told(count: int) -> None:
    moves = [(float(n), "pod/web", Move("n", str(n - 1), str(n))) for n in range(1, count + 1)]

    (line,) = chains(moves)

    assert line.startswith("pod/web n: 0 → 1 +1.0s → ")
    assert line.endswith(f" → {count} +{count}.0s")
    assert line.count("→") == 5
    assert ("more" in line) == (count > 5)
    if count > 5:
        assert f"… {count + 1 - 5} more …" in line
