"""The step `bgp`: sessions and routes as routers tell them, compared as tables, and never judged where nothing was looked at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.events import Route, RouteTable, Session
from koalesce.kube import ExecResult
from koalesce.process import Result
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.bgp import Bgp
from tests.fakes import FakeCluster, FakeNode, context, result, running_pod

DATA = Path(__file__).resolve().parents[2] / "data" / "routing"
PEER = "198.18.1.11"
GOBGP = {
    "gobgp -j neighbor": "neighbor",
    "gobgp -j global rib -a ipv4": "rib",
    "gobgp -j global rib -a ipv6": "rib6",
    f"gobgp -j neighbor {PEER} adj-in -a ipv4": "adj-in",
}
VTYSH = {
    "vtysh -c show bgp neighbors json": "neighbors",
    "vtysh -c show bgp ipv4 unicast json": "ipv4",
    f"vtysh -c show bgp ipv4 unicast neighbors {PEER} advertised-routes json": "sent",
    "vtysh -c show bgp ipv4 unicast 10.244.1.0/24 json -c show bgp ipv4 unicast 10.244.2.0/24 json": "details",
}


BIRD = {
    "birdc show protocols all": "protocols",
    "birdc show route all table master4": "ipv4",
    "birdc show route all import table peer0.ipv4": "received",
    "birdc show route all export table peer0.ipv4": "sent",
}


def bird(**other: str) -> FakeCluster:
    """A fixture `r1` with a peer `r2`, which says what a real BIRD had said; `other` texts by file."""

    def answer(command: Sequence[str], stdin: bytes | None) -> Result:
        if command[0] == "pgrep":
            return result(command, out="7")
        name = BIRD.get(" ".join(command), "")
        path = DATA / f"bird-{name}.txt"
        if name not in other and not path.exists():
            return result(command, err="Unable to connect to server control socket", code=1)
        return result(command, out=other.get(name) or path.read_text())

    return FakeCluster(fixtures=[FakeNode("r1", program="bird", answer=answer), FakeNode("r2", address="10.77.0.2")])


def router(program: str = "gobgp-3", **other: str) -> FakeCluster:
    """A fixture `r1` with a peer `r2`, which says what a real one had said; `other` texts by file."""
    files = VTYSH if program == "frr" else GOBGP

    def answer(command: Sequence[str], stdin: bytes | None) -> Result:
        name = files.get(" ".join(command), "")
        if name in other:
            return result(command, out=other[name])
        if command[0] == "pgrep":
            return result(command, out="7")
        path = DATA / f"{program}-{name}.json"
        if not path.exists():
            return result(command, out='{"error":"connection refused"}', code=1)
        return result(command, out=path.read_text())

    made_by = "frr" if program == "frr" else "gobgpd"
    return FakeCluster(fixtures=[FakeNode("r1", program=made_by, answer=answer), FakeNode("r2", address=PEER)])


def attempt(on: FakeCluster, *, may_not_exist: bool = False, **fields: Any) -> Outcome:
    return Bgp.model_validate({"fixture": "r1"} | fields).attempt(context(on, may_not_exist=may_not_exist))


@pytest.mark.parametrize("program", ["gobgp-3", "gobgp-4", "frr"])
def test_all_programs_tell_sessions_alike(program: str) -> None:
    outcome = attempt(router(program), sessions={"exactly": ["r2"]})

    assert isinstance(outcome, Passed), outcome
    assert outcome.value == [
        {
            "peer": PEER,
            "name": "r2",
            "state": "Established",
            "asn": 64514,
            "localASN": 64513,
            "routerID": PEER,
            "localAddress": "198.18.1.10",
            "holdTime": 30,
            "gracefulRestart": True,
            "accepted": 3,
        }
    ]


def test_bird_tells_sessions_as_others_do() -> None:
    outcome = attempt(bird(), sessions={"exactly": ["r2", {"peer": "10.77.0.9", "state": "Connect"}]})

    assert isinstance(outcome, Passed), outcome
    assert outcome.value == [
        {
            "peer": "10.77.0.2",
            "name": "r2",
            "state": "Established",
            "asn": 64513,
            "localASN": 64515,
            "routerID": "198.18.1.10",
            "localAddress": "10.77.0.1",
            "holdTime": 30,
            "gracefulRestart": False,
            "accepted": 3,
        },
        {
            "peer": "10.77.0.9",
            "name": "",
            "state": "Connect",
            "asn": 64599,
            "localASN": 64515,
            "routerID": "",
            "localAddress": "",
            "holdTime": 0,
            "gracefulRestart": False,
            "accepted": 0,
        },
    ]


def test_bird_tells_routes_of_bgp_and_its_own_and_none_that_the_kernel_had_before() -> None:
    learnt = {
        "prefix": "203.0.113.0/24",
        "peers": ["10.77.0.2"],
        "nextHops": ["10.77.0.2"],
        "asPath": [64513],
        "communities": ["no-export", "64513:100"],
        "origin": "incomplete",
        "med": 0,
        "stale": False,
    }
    other = {"prefix": "198.51.100.0/24", "nextHops": ["10.77.0.77"], "med": 20, "communities": []}
    own = {"prefix": "192.0.2.0/24", "nextHops": [], "peers": [], "asPath": []}

    assert isinstance(found := attempt(bird(), routes={"exactly": [learnt, other, own]}), Passed), found
    assert isinstance(found := attempt(bird(), routes={"receivedFrom": "r2", "exactly": [learnt, other]}), Passed), (
        found
    )
    assert isinstance(found := attempt(bird(), routes={"sentTo": "r2", "exactly": ["192.0.2.0/24"]}), Passed), found


def test_of_what_bird_sends_only_prefixes_are_known() -> None:
    outcome = attempt(bird(), routes={"sentTo": "r2", "exactly": [{"prefix": "192.0.2.0/24", "asPath": [64515]}]})

    assert outcome == Errored("r1: birdc tells only the prefixes of what is sent: look at the peer's routes")


def test_several_paths_of_bird_and_those_of_a_peer_that_restarts() -> None:
    text = """BIRD 2.0.12 ready.
Table master4:
203.0.113.0/24       unicast [peer0 12:10:08.798] * (100s/10) [AS64513i]
\tvia 10.77.0.2 on va
\tType: BGP univ
\tBGP.origin: IGP
\tBGP.as_path: 64513 {64600 64601}
\tBGP.next_hop: 10.77.0.2
                     unicast [peer1 12:10:08.798] (100) [AS64599i]
\tvia 10.77.0.9 on va
\tType: BGP univ
\tBGP.as_path: 64599
\tBGP.next_hop: 10.77.0.9
"""
    wanted = {
        "prefix": "203.0.113.0/24",
        "nextHops": ["10.77.0.2", "10.77.0.9"],
        "peers": ["10.77.0.2", "10.77.0.9"],
        "asPath": [64513, "{64600,64601}"],
        "stale": True,
    }

    assert isinstance(found := attempt(bird(ipv4=text), routes={"exactly": [wanted]}), Passed), found


def test_what_bird_says_in_another_form_is_an_error_and_no_absence() -> None:
    outcome = attempt(bird(ipv4="syntax error\n"), routes={"count": 0})

    assert outcome == Errored("r1: birdc printed what is no route: 'syntax error'")


@pytest.mark.parametrize("program", ["gobgp-3", "gobgp-4", "frr"])
def test_all_programs_tell_routes_alike(program: str) -> None:
    outcome = attempt(
        router(program),
        routes={
            "exactly": [
                {
                    "prefix": "10.244.2.0/24",
                    "nextHops": ["198.18.1.12"],
                    "asPath": [64514, 65000, 65001],
                    "communities": [],
                },
                {
                    "prefix": "10.244.1.0/24",
                    "peers": [PEER],
                    "asPath": [64514],
                    "communities": ["no-export", "64514:1"],
                },
            ]
        },
    )

    assert isinstance(outcome, Passed), outcome
    assert [route["origin"] for route in outcome.value] == ["incomplete", "incomplete"]


@pytest.mark.parametrize("program", ["gobgp-3", "gobgp-4"])
def test_routes_of_ipv6(program: str) -> None:
    outcome = attempt(
        router(program), routes={"family": "IPv6", "exactly": [{"prefix": "fd00:1::/64", "nextHops": ["fd00::1"]}]}
    )

    assert isinstance(outcome, Passed), outcome


def test_what_a_peer_sent_is_asked_for_by_its_name() -> None:
    assert isinstance(
        attempt(router(), routes={"receivedFrom": "r2", "exactly": ["10.244.1.0/24", "10.244.2.0/24"]}), Passed
    )
    assert isinstance(attempt(router("frr"), routes={"sentTo": "r2", "exactly": ["10.244.2.0/24"]}), Passed)


def test_a_table_shows_what_is_missing_what_differs_and_what_is_too_much() -> None:
    outcome = attempt(
        router(),
        routes={"exactly": [{"prefix": "10.244.1.0/24", "nextHops": ["198.18.1.99"]}, "10.244.9.0/24"]},
    )

    assert outcome == Failed(
        'r1: 10.244.1.0/24 nextHops[0] is "198.18.1.11", expected "198.18.1.99", and 2 more differ',
        "exactly 2",
        "2",
        "          prefix         nextHops     asPath\n"
        "expected  10.244.1.0/24  198.18.1.99\n"
        "observed  10.244.1.0/24  198.18.1.11  64514\n"
        "expected  10.244.9.0/24\n"
        "observed  10.244.2.0/24  198.18.1.12  64514 65000 65001  not expected",
    )


def test_a_session_in_another_state_is_shown_beside_what_was_expected() -> None:
    outcome = attempt(router(), sessions={"match": {"name": "r2", "state": "Active"}})

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("r1: 0 of 1 sessions matching, expected at least one")
    assert outcome.detail.splitlines() == [
        "          peer         name  state        asn",
        "expected               r2    Active",
        "observed  198.18.1.11  r2    Established  64514",
    ]


def test_no_password_is_ever_shown() -> None:
    assert "secret" in (DATA / "gobgp-3-neighbor.json").read_text()

    outcomes = [
        attempt(router(), sessions={"match": {"state": "Active"}}),
        attempt(router(), sessions={"match": {"state": "Established"}}),
    ]

    assert "secret" not in repr(outcomes)


def test_a_router_without_sessions_proves_nothing() -> None:
    outcome = attempt(router(neighbor="[]"), sessions={"match": {"state": "Established"}, "count": 0})

    assert isinstance(outcome, Failed)
    assert (outcome.message, outcome.saw_nothing) == ("r1: it has no sessions at all", True)


def test_that_a_route_is_gone_proves_nothing_while_no_session_is_up() -> None:
    down = (DATA / "gobgp-3-neighbor.json").read_text().replace('"session_state": 6', '"session_state": 3')
    gone = {"match": {"prefix": "10.9.0.0/16"}, "count": 0}

    assert isinstance(attempt(router(), routes=gone), Passed)
    outcome = attempt(router(neighbor=down), routes=gone)
    assert isinstance(outcome, Failed)
    assert outcome.message == (
        "r1: no route is there, but no session is up by which one might come; say mayNotExist: true if that is meant"
    )
    assert isinstance(attempt(router(neighbor=down), routes=gone, may_not_exist=True), Passed)


def test_a_peer_that_there_is_not_proves_nothing() -> None:
    outcome = attempt(router(), routes={"receivedFrom": "worker-1", "count": 0})

    assert isinstance(outcome, Failed)
    assert (outcome.message, outcome.saw_nothing) == ("r1: it has no session with worker-1; there are: r2", True)


def test_a_program_that_does_not_answer_is_an_error_that_may_pass() -> None:
    outcome = attempt(router("nothing"), sessions={"match": {"state": "Established"}})

    assert outcome == Errored("r1: gobgp -j neighbor: connection refused")


@pytest.mark.parametrize(("program", "files"), [("gobgp", "gobgp-3"), ("vtysh", "frr")])
def test_pods_are_asked_by_the_program_in_their_container(program: str, files: str) -> None:
    cluster = FakeCluster(running_pod("speaker", node="worker-1", app="speaker"), nodes=[FakeNode("worker-1")])
    commands = VTYSH if program == "vtysh" else GOBGP
    asked: list[str] = []

    def answer(pod: str, command: Sequence[str]) -> ExecResult:
        asked.append(f"{pod}: {command[0]}")
        text = (DATA / f"{files}-{commands[' '.join(command)]}.json").read_text()
        return ExecResult(command=tuple(command), code=0, stdout=text.encode(), stderr=b"", seconds=0.0)

    cluster.kube.on_exec = answer
    outcome = Bgp.model_validate(
        {"pods": "app=speaker", "program": program, "sessions": {"match": {"peer": PEER, "state": "Established"}}}
    ).attempt(context(cluster))

    assert isinstance(outcome, Passed), outcome
    assert set(asked) == {f"speaker: {program}"}


@pytest.mark.parametrize(
    ("logs", "said"),
    [
        ({}, "gobgpd doesn't run"),
        ({"gobgpd": ("cat", "/log")}, "gobgpd doesn't run; its log ends with: koalesce: gobgpd ended with code -9"),
    ],
)
def test_a_program_that_has_died_is_named_with_its_last_words(logs: dict[str, tuple[str, ...]], said: str) -> None:
    def answer(command: Sequence[str], stdin: bytes | None) -> Result:
        if tuple(command) == ("cat", "/log"):
            return result(command, out="listening\nkoalesce: gobgpd ended with code -9\n")
        return result(command, err="connection refused", code=1)

    router = FakeNode("r1", program="gobgpd", answer=answer)
    router.logs = logs

    assert attempt(FakeCluster(fixtures=[router]), sessions={}) == Errored(
        f"r1: {said} (gobgp -j neighbor: connection refused)"
    )


def test_a_host_is_no_router() -> None:
    plain = FakeCluster(fixtures=[FakeNode("r1")])

    assert attempt(plain, sessions={}) == Errored("r1 is no router, and program isn't said", final=True)


def test_an_address_is_a_prefix_of_its_own() -> None:
    rib = (DATA / "gobgp-3-rib.json").read_text().replace("10.244.1.0/24", "10.96.0.7/32")

    assert isinstance(attempt(router(rib=rib), routes={"match": {"prefix": "10.96.0.7"}}), Passed)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "say exactly one of sessions and routes"),
        ({"sessions": {}, "routes": {}}, "say exactly one of sessions and routes"),
        ({"sessions": {"match": {"stat": "Idle"}}}, 'a session has no field "stat"; did you mean "state"?'),
        ({"sessions": {"match": {"state": "Establish"}}}, 'did you mean "Established"?'),
        (
            {"routes": {"exactly": [{"nexthop": "10.0.0.1"}]}},
            'a route has no field "nexthop"; did you mean "nextHops"?',
        ),
        ({"routes": {"exactly": [{"nextHops": []}]}}, "say which route: prefix is missing"),
        ({"routes": {"exactly": ["10.0.0.1/24"]}}, '"10.0.0.1/24" is no prefix; write a network such as 10.244.1.0/24'),
        ({"routes": {"exactly": ["fd00::/64"]}}, "fd00::/64 is no prefix of IPv4: say family"),
        ({"routes": {"exactly": ["10.0.0.0/24"], "count": 1}}, "exactly says it all"),
        ({"routes": {"receivedFrom": "a", "sentTo": "b"}}, "say receivedFrom or sentTo, not both"),
    ],
)
def test_what_can_be_known_wrong_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Bgp.model_validate({"fixture": "r1", **fields})

    assert said in str(caught.value)


@pytest.mark.parametrize("wanted", ["Established", "Idle"])
def test_reports_draw_what_was_seen_whatever_was_expected(wanted: str) -> None:
    outcome = attempt(router(), sessions={"match": {"state": wanted}})

    assert isinstance(outcome, Passed | Failed)
    assert outcome.sessions == (
        Session(at="r1", peer="r2", state="Established", local_asn=64513, asn=64514, accepted=3),
    )


@pytest.mark.parametrize("wanted", ["10.244.1.0/24", "10.244.9.0/24"])
def test_reports_draw_the_routes_of_a_table_by_the_machines_that_have_the_addresses(wanted: str) -> None:
    outcome = attempt(router(), routes={"match": {"prefix": wanted}})

    assert isinstance(outcome, Passed | Failed)
    assert outcome.routes == (
        RouteTable(
            at="r1", side="table", peer="", family="IPv4",
            routes=(
                Route(prefix="10.244.1.0/24", peer="r2", next_hop="r2", as_path="64514", is_best=True),
                Route(
                    prefix="10.244.2.0/24", peer="r2", next_hop="198.18.1.12", as_path="64514 65000 65001", is_best=True
                ),
            ),
        ),
    )  # fmt: skip


def test_reports_draw_what_a_peer_sent() -> None:
    outcome = attempt(router(), routes={"receivedFrom": "r2", "match": {"prefix": "10.244.1.0/24"}})

    assert isinstance(outcome, Passed)
    assert [(table.side, table.peer, len(table.routes)) for table in outcome.routes] == [("received", "r2", 2)]


def test_of_a_huge_table_reports_get_those_first_that_the_step_is_about() -> None:
    (path,) = json.loads((DATA / "gobgp-3-rib.json").read_text())["10.244.1.0/24"]
    rib = {f"10.{high}.{low}.0/24": [path] for high in range(2) for low in range(250)}
    outcome = attempt(router(rib=json.dumps(rib)), routes={"where": {"prefix": {"inCIDR": "10.1.249.0/24"}}})

    assert isinstance(outcome, Passed)
    (table,) = outcome.routes
    assert (table.routes[0].prefix, len(table.routes), table.left_out) == ("10.1.249.0/24", 200, 300)


def test_its_own_routes_have_neither_a_peer_nor_a_next_hop_of_nobody() -> None:
    (path,) = json.loads((DATA / "gobgp-3-rib.json").read_text())["10.244.1.0/24"]
    own = json.loads(json.dumps(path).replace(PEER, "0.0.0.0"))
    outcome = attempt(router(rib=json.dumps({"10.0.0.0/24": [own]})), routes={})

    assert isinstance(outcome, Passed)
    assert outcome.routes[0].routes == (
        Route(prefix="10.0.0.0/24", peer="", next_hop="", as_path="64514", is_best=True),
    )
