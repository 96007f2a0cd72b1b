"""BGP sessions as a drawing in the HTML report."""

from __future__ import annotations

import re
from pathlib import Path

from koalesce.events import (
    AnyEvent,
    ClusterReady,
    Route,
    RouteTable,
    Session,
    SpecStarted,
    Status,
    StepFinished,
    TestFinished,
    TestStarted,
    from_json,
    to_json,
)
from tests.unit.reporters.pages import Page, page

SPEC = "specs/a.yaml"
NODES = ("control-plane", "worker-1", "worker-2")


def session(at: str, peer: str, state: str = "Established", accepted: int = 3) -> Session:
    return Session(
        at=at, peer=peer, state=state, local_asn=64512, asn=64512 if peer in NODES else 64513, accepted=accepted
    )


def looked(*sessions: Session, index: int = 0, routes: tuple[RouteTable, ...] = ()) -> StepFinished:
    return StepFinished(
        spec=SPEC, test="t", section="steps", index=index, type="bgp", title="bgp", line=7, status="passed", attempts=1,
        seconds=1.0, message="m", sessions=sessions, routes=routes,
    )  # fmt: skip


def route(prefix: str, peer: str = "", *, is_best: bool = True) -> Route:
    return Route(prefix=prefix, peer=peer, next_hop=peer, as_path="64513", is_best=is_best)


def table(at: str, *routes: Route, side: str = "table", peer: str = "", left_out: int = 0) -> RouteTable:
    return RouteTable(at=at, side=side, peer=peer, family="IPv4", routes=routes, left_out=left_out)


def run(*looks: StepFinished, status: Status = "passed") -> list[AnyEvent]:
    return [
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        ClusterReady(
            spec=SPEC, cluster="a-1", provider="local", kubernetes="1", nodes=tuple({"name": name} for name in NODES),
            capabilities=(), kubeconfig="", seconds=1.0,
        ),
        TestStarted(spec=SPEC, test="t", namespace="n", line=3),
        *looks,
        TestFinished(spec=SPEC, test="t", status=status, seconds=5.0, message="m", line=3),
    ]  # fmt: skip


def drawn(shown: Page) -> list[str]:
    return [path["class"] for path in shown.all("path")]


def test_both_ends_of_a_session_are_one_line(tmp_path: Path) -> None:
    shown = page(
        tmp_path, *run(looked(session("worker-1", "r1"), session("r1", "worker-1"), session("worker-1", "worker-2")))
    )

    assert drawn(shown) == ["up", "up"]
    assert "2 of 2 up" in shown.text
    assert (
        "worker-1 has r1 as Established, 3 routes accepted; r1 has worker-1 as Established, 3 routes accepted"
        in shown.text
    )
    assert [rect["class"] for rect in shown.all("rect") if rect.get("class") in ("node", "other")].count("node") == 2


def test_what_is_up_at_one_end_only_is_not_up(tmp_path: Path) -> None:
    shown = page(
        tmp_path,
        *run(looked(session("worker-1", "r1"), session("r1", "worker-1", "Active"), session("worker-2", "r1", "Idle"))),
    )

    assert drawn(shown) == ["half", "down"]
    assert "0 of 2 up" in shown.text


def test_the_last_look_at_a_machine_counts(tmp_path: Path) -> None:
    first = looked(session("worker-1", "r1"), session("worker-2", "r1"))
    then = looked(session("worker-1", "r1", "Idle"), index=1)

    assert drawn(page(tmp_path, *run(first, then))) == ["down", "up"]


def test_lines_begin_and_end_where_boxes_are(tmp_path: Path) -> None:
    full = [session(one, other) for one in NODES for other in (*NODES, "r1", "r2") if one != other]
    shown = page(tmp_path, *run(looked(*full)))

    boxes = {
        (int(rect["x"]) + int(rect["width"]) // 2, int(rect["y"]) + int(rect["height"]) // 2)
        for rect in shown.all("rect")
        if rect.get("class") in ("node", "other")
    }
    ends = {
        (int(x), int(y))
        for path in shown.all("path")
        for x, y in re.findall(r"(?:M|L|Q \S+ \S+) (\d+) (\d+)", path["d"])
    }
    (picture,) = (svg for svg in shown.all("svg") if "viewbox" in svg)
    _, _, width, height = map(int, picture["viewbox"].split())
    assert boxes == ends
    assert len(boxes) == 5
    assert all(65 <= x <= width - 65 and 20 <= y <= height - 20 for x, y in boxes)


def test_of_very_many_machines_there_is_the_table(tmp_path: Path) -> None:
    shown = page(tmp_path, *run(looked(*(session(f"r{number}", "worker-1") for number in range(40)))))

    assert drawn(shown) == []
    assert "r39" in shown.text


def test_nothing_foreign_is_markup(tmp_path: Path) -> None:
    shown = page(
        tmp_path, *run(looked(session("</svg><script>x</script>", '"><script>y</script>', "</title><script>z")))
    )

    assert not shown.all("script")


def test_a_run_without_sessions_has_no_such_section(tmp_path: Path) -> None:
    assert not page(tmp_path, *run(looked())).all("details", "topology")


def test_events_keep_them() -> None:
    event = looked(session("worker-1", "r1"), routes=(table("r1", route("10.244.1.0/24", "worker-1"), left_out=2),))

    assert from_json(to_json(event)) == event


def test_bows_and_boxes_are_within_the_picture(tmp_path: Path) -> None:
    routers = [f"r{number}" for number in range(4)]
    among_routers = [session(one, other) for one in routers for other in routers if one < other]
    for sessions in (among_routers, [session(NODES[0], NODES[2])], [*among_routers, session(NODES[0], NODES[2])]):
        shown = page(tmp_path, *run(looked(*sessions)))
        (picture,) = (each for each in shown.all("svg") if each.get("viewbox"))
        height = float(picture["viewbox"].split()[3])

        for path in shown.all("path"):
            begin, control = re.findall(r"[\d.-]+ ([\d.-]+)", path["d"])[:2]
            assert 0 < (float(begin) + float(control)) / 2 < height
        for box in (each for each in shown.all("rect") if each.get("class") in ("node", "other")):
            assert 0 < float(box["y"]) < float(box["y"]) + float(box["height"]) < height


def test_routes_that_were_accepted_stand_beside_the_end_that_has_them(tmp_path: Path) -> None:
    shown = page(
        tmp_path,
        *run(
            looked(
                session("r1", "worker-1", accepted=7),
                session("worker-1", "r1", accepted=2),
                session("r1", "r2", "Active"),
            )
        ),
    )

    numbers = [each for each in shown.all("text") if each.get("class") == "routes"]
    assert "r1 has accepted 7 routes of worker-1" in shown.text
    assert "worker-1 has accepted 2 routes of r1" in shown.text
    assert len(numbers) == 2
    assert float(numbers[0]["y"]) < float(numbers[1]["y"])  # routers are above


def arrows(shown: Page) -> list[str]:
    """The looks of all arrows."""
    return [path["class"].removeprefix("head ") for path in shown.all("path", "head")]


def test_a_prefix_has_an_arrow_from_who_announced_it_and_every_machine_says_what_became_of_it(tmp_path: Path) -> None:
    shown = page(
        tmp_path,
        *run(
            looked(
                session("r1", "worker-1"),
                session("r1", "worker-2"),
                session("r1", "control-plane"),
                routes=(
                    table("worker-1", route("10.244.1.0/24")),
                    table("r1", route("10.244.1.0/24", "worker-1")),
                    table("worker-2"),
                ),
            )
        ),
    )

    assert arrows(shown) == ["used"]
    assert "worker-1 → r1: announced, and the best path there" in shown.text
    for told in ("worker-1: its own", "r1: has it", "worker-2: not there", "control-plane: not asked"):
        assert told in shown.text
    assert len(shown.all("path", "still")) == 2  # sessions by which it doesn't go


def test_a_table_that_is_not_listed_whole_proves_no_absence(tmp_path: Path) -> None:
    tables = (table("r1", route("10.0.0.0/24")), table("r2", route("10.0.1.0/24"), left_out=7))
    shown = page(tmp_path, *run(looked(session("r1", "r2"), routes=tables)))

    assert "r1: not there" in shown.text
    assert "r2: not asked" in shown.text
    assert "7 more prefixes weren't kept" in shown.text


def test_prefixes_that_go_the_same_way_share_a_drawing_and_those_that_are_lacking_come_first(tmp_path: Path) -> None:
    tables = (
        table("r1", route("10.0.0.0/24", "r2"), route("10.0.2.0/24", "r2"), route("10.0.1.0/24")),
        table("r2", route("10.0.0.0/24"), route("10.0.2.0/24")),
    )
    shown = page(tmp_path, *run(looked(session("r1", "r2"), routes=tables)))

    assert len(shown.all("figcaption")) == 2
    assert shown.text.index("10.0.1.0/24") < shown.text.index("10.0.0.0/24, 10.0.2.0/24")


def test_other_paths_and_what_only_one_end_says_look_different(tmp_path: Path) -> None:
    tables = (
        table("r3", route("10.0.0.0/24", "r1"), route("10.0.0.0/24", "r2", is_best=False)),
        table("r1", route("10.0.0.0/24"), side="sent", peer="r3"),  # r3 says more of it
        table("r1", route("10.0.0.0/24"), side="sent", peer="r4"),
        table("r5", route("10.0.0.0/24", "r1"), side="received", peer="r1"),
    )
    shown = page(tmp_path, *run(looked(session("r1", "r3"), routes=tables)))

    assert sorted(arrows(shown)) == ["offered", "offered", "unused", "used"]
    assert "r1 → r4: received or sent, as one end says" in shown.text
    assert "r1 → r5: received or sent, as one end says" in shown.text


def test_the_last_look_at_a_table_counts(tmp_path: Path) -> None:
    first = looked(session("r1", "r2"), routes=(table("r1", route("10.0.0.0/24", "r2")),))
    then = looked(session("r1", "r2"), routes=(table("r1"), table("r2", route("10.0.0.0/24"))), index=1)
    shown = page(tmp_path, *run(first, then))

    assert arrows(shown) == []
    assert "r1: not there" in shown.text


def test_of_very_many_ways_some_are_in_the_table_only(tmp_path: Path) -> None:
    tables = [
        table(f"r{bit}", *(route(f"10.0.{number}.0/24") for number in range(1, 14) if number >> bit & 1))
        for bit in range(4)
    ]
    shown = page(tmp_path, *run(looked(session("r0", "r1"), session("r2", "r3"), routes=tuple(tables))))

    assert len(shown.all("figcaption")) == 12
    assert "Others are in the table only: 1." in shown.text
    many = [session(f"r{number}", "worker-1") for number in range(13)]
    assert not page(tmp_path, *run(looked(*many, routes=tuple(tables)))).all("figcaption")


def test_routes_of_foreign_names_are_no_markup(tmp_path: Path) -> None:
    evil = '"><script>x</script>'
    tables = (table("r1", route(evil, evil)), table("r1", route(evil), side="received", peer=evil))
    shown = page(tmp_path, *run(looked(session("r1", evil), routes=tables)))

    assert not shown.all("script")
