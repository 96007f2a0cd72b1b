"""BGP sessions as a drawing in the HTML report."""

from __future__ import annotations

import re
from pathlib import Path

from koalesce.events import (
    AnyEvent,
    ClusterReady,
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


def looked(*sessions: Session, index: int = 0) -> StepFinished:
    return StepFinished(
        spec=SPEC, test="t", section="steps", index=index, type="bgp", title="bgp", line=7, status="passed", attempts=1,
        seconds=1.0, message="m", sessions=sessions,
    )  # fmt: skip


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
    event = looked(session("worker-1", "r1"))

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
