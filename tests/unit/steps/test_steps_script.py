"""Scripts on this machine."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.process import CommandMissing
from koalesce.spec.files import SpecFiles
from koalesce.steps.base import Failed, Outcome, Passed, Stopped
from koalesce.steps.script import Script
from tests.fakes import FakeCluster, context


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def attempt(cluster: FakeCluster, root: Path, **fields: Any) -> Outcome:
    return Script.model_validate(fields).attempt(context(cluster, root=root))


def test_runs_in_the_folder_of_the_spec_with_the_cluster_in_its_environment(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    cluster.host_exec = ("nsenter", "--net=/run/a b")
    text = 'pwd; echo "$KUBECONFIG $NAMESPACE $KOALESCE_CLUSTER $KOALESCE_KUBERNETES"; echo "$KOALESCE_HOST_EXEC $COUNT $ON"'

    outcome = attempt(cluster, tmp_path, run=text, env={"COUNT": 3, "ON": True})

    assert isinstance(outcome, Passed)
    assert outcome.value["stdout"].splitlines() == [
        str(tmp_path),
        "/nonexistent/kubeconfig test-ns fake 1.37.2",
        "nsenter '--net=/run/a b' 3 true",
    ]


def test_stops_at_the_first_error_and_at_unset_variables(cluster: FakeCluster, tmp_path: Path) -> None:
    outcome = attempt(cluster, tmp_path, run="echo before\nfalse\necho after")

    assert outcome == Failed("exit code is 1, expected 0", expected="0", actual="1", detail="stdout:\n  | before")
    assert isinstance(attempt(cluster, tmp_path, run="echo $UNSET_VARIABLE"), Failed)


def test_another_interpreter_with_input(cluster: FakeCluster, tmp_path: Path) -> None:
    outcome = attempt(
        cluster, tmp_path, run="import sys; print(sys.stdin.read().upper())", interpreter="python3", stdin="hi"
    )

    assert isinstance(outcome, Passed)
    assert outcome.value["stdout"] == "HI"


def test_an_interpreter_that_is_not_there_is_no_verdict(cluster: FakeCluster, tmp_path: Path) -> None:
    with pytest.raises(CommandMissing):
        attempt(cluster, tmp_path, run="x", interpreter=["no-such-interpreter"])


def test_a_script_that_does_not_end_fails(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koalesce.steps.inside.places._LAST_LOOK", 0.2)
    cluster.scope.seconds = 0.2

    outcome = attempt(cluster, tmp_path, run="echo begun; sleep 60")

    assert outcome == Failed(
        "the script was still running after 0.2s",
        expected="an end",
        actual="still running",
        detail="stdout:\n  | begun",
    )


def test_cancel_ends_it(cluster: FakeCluster, tmp_path: Path) -> None:
    started = time.monotonic()
    threading.Timer(0.1, cluster.scope.cancel.set).start()

    with pytest.raises(Stopped) as stopped:
        attempt(cluster, tmp_path, run="echo begun; sleep 600")

    value = {"stdout": "begun", "stderr": "", "exitCode": None}
    assert stopped.value.outcome == Passed("was still running when it was stopped", value)
    assert time.monotonic() - started < 300


def test_nothing_of_it_stays(cluster: FakeCluster, tmp_path: Path) -> None:
    outcome = attempt(cluster, tmp_path, run='echo "$0"')

    assert isinstance(outcome, Passed)
    assert not Path(outcome.value["stdout"]).parent.exists()
    assert list(tmp_path.iterdir()) == []


def test_title_and_validation() -> None:
    assert Script.model_validate({"run": "\n  kubectl get nodes\n"}).title() == "script kubectl get nodes"
    assert not Script.model_validate({"run": "x"}).is_retried()
    for fields in ({}, {"run": ""}, {"run": "x", "interpreter": []}, {"run": "x", "interpeter": ["sh"]}):
        with pytest.raises(ValidationError):
            Script.model_validate(fields)


def test_a_script_in_a_file_is_read_by_the_interpreter_that_it_names(cluster: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    text = "#!/usr/bin/env python3\nimport os, sys\nprint(os.path.basename(os.getcwd()), *sys.argv[1:])\n"
    (tmp_path / "check.py").write_text(text)

    outcome = attempt(cluster, tmp_path, file="check.py", args=["a b", 3], cwd="sub", stdout={"equals": "sub a b 3"})

    assert isinstance(outcome, Passed)


def test_a_script_in_a_file_without_a_first_line_stops_at_errors(cluster: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "check.sh").write_text("false\necho after\n")

    outcome = attempt(cluster, tmp_path, file="check.sh")

    assert isinstance(outcome, Failed)
    assert outcome.actual == "1"


def test_a_run_has_a_time_of_its_own(cluster: FakeCluster, tmp_path: Path) -> None:
    outcome = attempt(cluster, tmp_path, run="sleep 60", maxTime="100ms")

    assert isinstance(outcome, Failed)
    assert outcome.message == "the script was still running after 0.1s"


def test_files_that_are_not_there_are_said_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "check.sh").write_text("")
    files = SpecFiles(tmp_path, tmp_path)

    def problems(**fields: Any) -> list[str]:
        return Script.model_validate(fields).static_problems(files)

    assert problems(file="check.sh", cwd=".") == []
    assert problems(file="chekc.sh") == ['file: chekc.sh: no such file\n  hint: did you mean "check.sh"?']
    assert problems(file=".", cwd="check.sh") == ["file: . is no file", "cwd: check.sh is no folder"]
    assert problems(run="x", cwd="..") == ["cwd: ..: leads outside of the project's folder"]


@pytest.mark.parametrize("fields", [{"run": "x", "file": "y"}, {"file": ""}, {"run": "x", "maxTime": "0s"}])
def test_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Script.model_validate(fields)
