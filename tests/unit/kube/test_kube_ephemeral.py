"""Ephemeral containers: one that runs is used again, one is added where there is none, and what keeps it from running is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from koalesce.errors import ClusterError
from koalesce.kube import ApiError, Kube, ephemeral
from koalesce.kube.ephemeral import Wanted, ensure
from tests.fakes import FakeKube, api_error, running_pod

WANTED = Wanted(prefix="look", image="agnhost", command=("sh",))
RUNNING, ENDED = {"running": {}}, {"terminated": {"reason": "Completed", "exitCode": 0}}
BACK_OFF = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "agnhost"'}}


def pod(*states: dict[str, Any] | None, image: str = "agnhost") -> dict[str, Any]:
    """A pod to which containers have been added that are in these states."""
    found = running_pod("web")
    names = [f"look-{number}" for number in range(1, 1 + len(states))]
    found["spec"]["ephemeralContainers"] = [{"name": name, "image": image} for name in names]
    found["status"]["ephemeralContainerStatuses"] = [
        {"name": name, "state": state} for name, state in zip(names, states, strict=True) if state is not None
    ]
    return found


class Node(FakeKube):
    """An API server with a node behind it: at each pause of who waits, the pod is in the next of these `looks`, the last one for good."""

    def __init__(self, first: dict[str, Any], *looks: dict[str, Any]) -> None:
        super().__init__()
        self.add(first)
        self.looks: Iterator[dict[str, Any]] = iter(looks)

    def pause(self, _seconds: float) -> None:
        if (look := next(self.looks, None)) is not None:
            self.add(look)

    @property
    def added(self) -> list[dict[str, Any]]:
        """The containers that were asked for."""
        bodies = [what["body"] for verb, what in self.requests if verb == "patch"]
        assert all(what["subresource"] == "ephemeralcontainers" for verb, what in self.requests if verb == "patch")
        return [each for body in bodies for each in body["spec"]["ephemeralContainers"]]


def have(node: Node, monkeypatch: pytest.MonkeyPatch, *, keep_out: str = "", patience: float = 60.0) -> str:
    monkeypatch.setattr(ephemeral.time, "sleep", node.pause)
    return ensure(cast(Kube, node), "web", "test-ns", WANTED, keep_out=keep_out, patience=patience, cancel=None)


def test_one_that_runs_is_used_again_whoever_keeps_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(pod(ENDED, RUNNING))

    assert have(node, monkeypatch, keep_out="no") == "look-2"
    assert node.added == []


def test_one_is_added_once_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(running_pod("web"), pod(None), pod({"waiting": {"reason": "ContainerCreating"}}), pod(RUNNING))

    assert have(node, monkeypatch) == "look-1"
    assert [(each["name"], each["image"], each["command"]) for each in node.added] == [("look-1", "agnhost", ["sh"])]


def test_it_asks_for_no_more_than_the_strictest_namespaces_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(running_pod("web"), pod(RUNNING))
    have(node, monkeypatch)

    security = node.added[0]["securityContext"]
    assert (security["runAsNonRoot"], security["allowPrivilegeEscalation"]) == (True, False)
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("before", [pod(ENDED), pod(RUNNING, image="another")])
def test_one_that_has_ended_or_is_another_is_no_help(before: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    after = pod(ENDED, RUNNING)
    node = Node(before, after)

    assert have(node, monkeypatch) == "look-2"
    assert [each["name"] for each in node.added] == ["look-2"]


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (pod(BACK_OFF), 'ImagePullBackOff: Back-off pulling image "agnhost"'),
        (pod({"terminated": {"reason": "StartError", "message": "no sh"}}), "it has ended: StartError: no sh"),
        (pod(ENDED), "it has ended: Completed"),
    ],
)
def test_one_that_will_not_run_is_told_at_once(
    look: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(running_pod("web"), look)

    with pytest.raises(ClusterError) as raised:
        have(node, monkeypatch)

    assert raised.value.message == message
    assert len(node.added) == 1


def test_an_image_that_could_not_be_had_before_gets_no_second_container(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(pod(BACK_OFF))

    with pytest.raises(ClusterError, match="ImagePullBackOff"):
        have(node, monkeypatch)
    assert node.added == []


def test_one_that_does_not_come_to_run_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(pod({"waiting": {"reason": "ContainerCreating"}}))

    with pytest.raises(ClusterError, match=r"it doesn't run after 0 s: ContainerCreating"):
        have(node, monkeypatch, patience=0.0)


def test_where_others_are_kept_out_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(pod(ENDED))

    with pytest.raises(ClusterError, match="it's somebody else's"):
        have(node, monkeypatch, keep_out="it's somebody else's")
    assert node.added == []


def test_what_the_api_server_refuses_is_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(running_pod("web"))
    node.fail("patch", api_error(403, 'violates PodSecurity "restricted:latest"', reason="Forbidden"))

    with pytest.raises(ApiError, match="violates PodSecurity"):
        have(node, monkeypatch)


def test_a_pod_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(running_pod("other"))

    with pytest.raises(ClusterError, match="pod test-ns/web is gone"):
        have(node, monkeypatch)
