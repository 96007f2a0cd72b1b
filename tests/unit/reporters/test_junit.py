from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from koalesce.events import (
    AnyEvent,
    ClusterReady,
    PhaseFinished,
    RunFinished,
    RunStarted,
    SpecFinished,
    SpecStarted,
    Status,
    StepFinished,
    TestFinished,
    TestStarted,
)
from koalesce.reporters.jsonl import read_events
from koalesce.reporters.junit import JUnit

RUNS = Path(__file__).parents[2] / "data" / "runs"
SPEC = "specs/net/a.yaml"


def report(tmp_path: Path, *events: AnyEvent) -> ET.Element:
    path = tmp_path / "junit.xml"
    reporter = JUnit(path)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return ET.parse(path).getroot()


def counts(element: ET.Element) -> dict[str, str]:
    return {name: element.attrib[name] for name in ("tests", "failures", "errors", "skipped")}


def verdicts(root: ET.Element) -> dict[str, tuple[str, str]]:
    """By suite and case: the verdict's element and its message."""
    found = {}
    for suite in root:
        for case in suite.iter("testcase"):
            verdict = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
            text = ("passed", "") if verdict is None else (verdict.tag, verdict.attrib["message"])
            found[f"{suite.attrib['name']} {case.attrib['name']}"] = text
    return found


def test_keeps_failures_errors_and_skips_apart(tmp_path: Path) -> None:
    root = report(tmp_path, *read_events(RUNS / "red.jsonl"))

    assert verdicts(root) == {
        "specs/kube-router.yaml teardown": (
            "error",
            "the network namespace kube-router-r1 is still in use by pid 4711",
        ),
        "specs/kube-router.yaml pods reach each other": (
            "failure",
            '"across nodes, without source NAT" failed after 60s, 12 attempts: 10.244.1.3 → 10.244.2.2:8080: dropped, expected allowed',
        ),
        "specs/kube-router.yaml policies hold": (
            "error",
            '"wget from the outsider" could not tell: the probe could not be started',
        ),
        "specs/kube-router.yaml routes come back": ("error", "the namespace k-routes could not be made: 403 Forbidden"),
        "specs/flannel.yaml images": (
            "error",
            "image docker.io/flannel/flannel:v0.26.7 can't be had: registry-1.docker.io: no route to host",
        ),
        "specs/flannel.yaml vxlan": (
            "skipped",
            "not run: image docker.io/flannel/flannel:v0.26.7 can't be had: registry-1.docker.io: no route to host\n"
            "supply it with --image docker.io/flannel/flannel:v0.26.7=PATH, or name an archive under cluster.images",
        ),
        "specs/none.yaml none": ("skipped", ""),
        "specs/bgp.yaml peers": ("skipped", "requires gobgpd"),
    }
    assert root.attrib == {
        "name": "koalesce",
        "tests": "8",
        "failures": "1",
        "errors": "4",
        "skipped": "3",
        "time": "66.900",
    }
    assert counts(root[0]) == {"tests": "4", "failures": "1", "errors": "3", "skipped": "0"}


def test_a_case_says_where_what_and_why(tmp_path: Path) -> None:
    root = report(tmp_path, *read_events(RUNS / "red.jsonl"))
    suite = root[0]
    case = next(case for case in suite.iter("testcase") if case.attrib["name"] == "pods reach each other")
    failure = case.find("failure")

    assert case.attrib == {
        "classname": "specs.kube-router",
        "name": "pods reach each other",
        "file": "specs/kube-router.yaml",
        "line": "17",
        "time": "60.500",
    }
    assert failure is not None
    assert failure.attrib["type"] == "connectivity"
    assert str(failure.text).splitlines() == [
        '"across nodes, without source NAT" failed after 60s, 12 attempts: 10.244.1.3 → 10.244.2.2:8080: dropped, expected allowed',
        "specs/kube-router.yaml:17: connectivity: 10.244.1.3 → 10.244.2.2:8080: dropped, expected allowed",
        "expected: allowed",
        "actual:   dropped",
        "|             client-0  client-1",
        "| client-0    allowed   dropped",
        "| client-1    dropped   allowed",
    ]
    assert str(case.findtext("system-out")).splitlines() == [
        "passed: apply clients.yaml (0.30s, attempts: 1) applied 3 objects",
        "failed: across nodes, without source NAT (60.00s, attempts: 12) 10.244.1.3 → 10.244.2.2:8080: dropped, expected allowed",
        "passed: cleanup: delete clients (0.10s, attempts: 1) deleted",
        f"[[ATTACHMENT|{Path('.koalesce/runs/r1/kube-router/pods-reach-each-other').absolute()}]]",
    ]


def test_a_suite_tells_on_what_it_ran(tmp_path: Path) -> None:
    suite = report(tmp_path, *read_events(RUNS / "green.jsonl"))[0]

    assert {key: suite.attrib[key] for key in ("name", "id", "timestamp", "hostname", "time")} == {
        "name": "specs/quickstart.yaml",
        "id": "0",
        "timestamp": "2026-03-01T12:00:00.000",
        "hostname": "builder",
        "time": "15.600",
    }
    assert {item.attrib["name"]: item.attrib["value"] for item in suite.iter("property")} == {
        "spec": "quickstart",
        "koalesce": "0.1.0",
        "run": "r1",
        "artifacts": ".koalesce/runs/r1",
        "provider": "local",
        "kubernetes": "v1.37.2",
        "cluster": "quickstart-r1",
        "nodes": "3",
        "capabilities": "ipvs node-exec",
    }


def test_a_run_cut_short_is_reported_as_far_as_it_went(tmp_path: Path) -> None:
    events = [event for event in read_events(RUNS / "interrupted.jsonl") if event.elapsed < 5.0]

    root = report(tmp_path, *events)

    assert verdicts(root) == {
        "specs/quickstart.yaml first": ("passed", ""),
        "specs/quickstart.yaml second": ("error", "the run ended in pod/web is Ready"),
        "specs/quickstart.yaml third": ("skipped", "not run: the run ended before it"),
    }


def test_an_interrupted_run_is_reported_whole(tmp_path: Path) -> None:
    root = report(tmp_path, *read_events(RUNS / "interrupted.jsonl"))

    assert counts(root) == {"tests": "3", "failures": "0", "errors": "1", "skipped": "1"}


def test_links_each_file_of_the_evidence(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    (evidence / "logs").mkdir(parents=True)
    (evidence / "logs" / "kubelet.log").write_text("x")
    (evidence / "events.txt").write_text("x")
    end = TestFinished(spec=SPEC, test="t", status="failed", seconds=1.0, message="m", line=2, evidence=str(evidence))

    root = report(tmp_path, SpecStarted(spec=SPEC, name="a", tests=("t",)), end)

    assert str(root.findtext(".//system-out")).splitlines() == [
        f"[[ATTACHMENT|{evidence}/events.txt]]",
        f"[[ATTACHMENT|{evidence}/logs/kubelet.log]]",
    ]


def test_of_many_files_of_the_evidence_the_readme_is_the_first(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / "evidence" / "a" / "b").mkdir(parents=True, exist_ok=True)
        (tmp_path / "evidence" / "a" / "b" / f"{number}.log").write_text("x")
    (tmp_path / "evidence" / "README.md").write_text("x")
    end = TestFinished(
        spec=SPEC, test="t", status="failed", seconds=1.0, message="m", line=2, evidence=str(tmp_path / "evidence")
    )

    lines = str(
        report(tmp_path, SpecStarted(spec=SPEC, name="a", tests=("t",)), end).findtext(".//system-out")
    ).splitlines()

    assert lines[0] == f"[[ATTACHMENT|{tmp_path}/evidence/README.md]]"
    assert len(lines) == 50


def test_a_failed_component_is_a_case_of_its_own(tmp_path: Path) -> None:
    root = report(
        tmp_path,
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        PhaseFinished(
            spec=SPEC, phase="component cni", status="failed", seconds=60.0, message="daemonset/cni: 1 of 3 ready"
        ),
        SpecFinished(spec=SPEC, status="failed", seconds=61.0, message="component cni was not ready"),
    )

    assert verdicts(root) == {
        "specs/net/a.yaml component cni": ("failure", "daemonset/cni: 1 of 3 ready"),
        "specs/net/a.yaml t": ("skipped", "not run: component cni was not ready"),
    }


def test_a_component_with_steps_of_its_own_is_told_by_them(tmp_path: Path) -> None:
    root = report(
        tmp_path,
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        step("component cni", "ready", message="1 of 3 pods"),
        PhaseFinished(
            spec=SPEC, phase="component cni", status="failed", seconds=60.0, message="component cni: 1 of 3 pods"
        ),
        SpecFinished(spec=SPEC, status="failed", seconds=61.0, message="component cni: 1 of 3 pods"),
    )

    assert verdicts(root) == {
        "specs/net/a.yaml component cni: ready: apply x": ("failure", "1 of 3 pods"),
        "specs/net/a.yaml t": ("skipped", "not run: component cni: 1 of 3 pods"),
    }
    assert root.find(".//testcase").attrib["line"] == "4"  # type: ignore[union-attr]


@pytest.mark.parametrize(("status", "expected"), [("failed", 2), ("passed", 1)])
def test_set_up_is_a_case_only_if_it_failed(tmp_path: Path, status: Status, expected: int) -> None:
    root = report(
        tmp_path,
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        TestStarted(spec=SPEC, test="setup", namespace="n", line=3),
        TestFinished(spec=SPEC, test="setup", status=status, seconds=1.0, message="422 Invalid", line=3),
        TestFinished(spec=SPEC, test="t", status="skipped", seconds=0.0, message="no setup", line=9),
        SpecFinished(spec=SPEC, status=status, seconds=2.0, message="setup: 422 Invalid"),
    )

    assert len(list(root.iter("testcase"))) == expected
    assert root.attrib["failures"] == str(expected - 1)


def test_hostile_text_stays_valid_xml(tmp_path: Path) -> None:
    hostile = '\x00\x1b[31m<&"]]>\ud800\ufffe\x0b\x85end'
    root = report(
        tmp_path,
        RunStarted(run_id=hostile, version="1", specs=(SPEC,), folder=hostile),
        SpecStarted(spec=SPEC, name=hostile, tests=(hostile,)),
        ClusterReady(
            spec=SPEC,
            cluster=hostile,
            provider="local",
            kubernetes="v1",
            nodes=(),
            capabilities=(hostile,),
            kubeconfig="",
            seconds=1.0,
        ),
        TestFinished(spec=SPEC, test=hostile, status="error", seconds=1.0, message=hostile, line=1, evidence=""),
    )

    assert root.find(".//testcase").attrib["name"] == '\ufffd<&"]]>\ufffd\ufffd\ufffd\ufffdend'  # type: ignore[union-attr]


def test_a_huge_text_is_cut_in_the_middle(tmp_path: Path) -> None:
    end = TestFinished(spec=SPEC, test="t", status="failed", seconds=1.0, message="a" * 1_000_000 + "end", line=1)

    text = str(report(tmp_path, SpecStarted(spec=SPEC, name="a", tests=("t",)), end).findtext(".//failure"))

    assert len(text) < 70_000
    assert text.endswith("end")
    assert re.search(r"… \d+ characters left out …", text)


def test_an_old_report_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "junit.xml"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            JUnit(path).close()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["junit.xml"]

    JUnit(path).close()
    assert ET.parse(path).getroot().attrib["tests"] == "0"


def test_ten_thousand_cases_are_all_there(tmp_path: Path) -> None:
    names = tuple(f"test {number}" for number in range(10_000))
    ends = (TestFinished(spec=SPEC, test=name, status="passed", seconds=0.1, message="", line=1) for name in names)
    starts = (TestStarted(spec=SPEC, test=name, namespace="n", line=1) for name in names)
    end = RunFinished(status="passed", passed=10_000, failed=0, error=0, skipped=0, seconds=9.0)

    root = report(tmp_path, SpecStarted(spec=SPEC, name="a", tests=names), *starts, *ends, end)

    assert counts(root) == {"tests": "10000", "failures": "0", "errors": "0", "skipped": "0"}
    assert len({case.attrib["name"] for case in root.iter("testcase")}) == 10_000


def step(test: str, section: str, *, message: str) -> StepFinished:
    return StepFinished(
        spec=SPEC, test=test, section=section, index=0, type="apply", title="apply x", line=4, status="failed", attempts=1,
        seconds=0.5, message=message,
    )  # fmt: skip
