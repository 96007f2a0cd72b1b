"""The commands about clusters that are up, against a ledger of their own."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from koalesce.cli import exit_codes
from koalesce.cli.commands import clusters, up
from koalesce.cli.main import main
from koalesce.events import ClusterReady, RunFinished
from koalesce.local.ledger import Entry, Hold, Ledger, Process
from koalesce.providers import LocalProvider
from koalesce.providers.session import ClusterSession
from koalesce.providers.sweeping import Condition
from tests.fake_hcloud import TOKEN, FakeHcloud
from tests.fake_http import serving


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path))
    return Ledger()


@pytest.fixture
def destroyed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of clusters whose sessions were told to end."""
    names: list[str] = []

    def down(session: ClusterSession) -> None:
        names.append(session.request.name)
        session._forget()

    monkeypatch.setattr(ClusterSession, "down", down)
    return names


def kept(name: str) -> Entry:
    return Entry(name=name, created="2026-01-02T03:04:05+00:00", kubernetes="1.37.2", nodes=("one", "two"), keep=True)


def test_clusters_are_aligned_columns() -> None:
    session = {"owner": "ada", "spec": "a.yaml", "ttl": 7200.0}
    entries: list[tuple[Entry, Condition]] = [
        (replace(kept("a-long-name"), session=session), "in use"),
        (Entry(name="b", created="nonsense", kubeconfig="/k"), "dead"),
    ]

    assert clusters.table(entries, datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)).splitlines() == [
        "NAME         OWNER  AGE    STATE   ENDS IN  NODES  KUBERNETES  PROVIDER  SPEC    KUBECONFIG",
        "a-long-name  ada    1h00m  in use  1h00m    2      1.37.2      local     a.yaml  -",
        "b            -      -      dead    -        0      -           local     -       /k",
    ]


def test_clusters_for_programs_are_json(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.begin(replace(kept("a"), session={"owner": "ada", "spec": "a.yaml"}, ready=True))
    ledger.begin(replace(kept("b"), ready=True))
    share = ledger.try_share("b")
    assert share is not None

    assert main(["clusters", "--json"]) == exit_codes.PASSED
    found = json.loads(capsys.readouterr().out)
    share.release()

    assert [(each["name"], each["state"], each["ttl"], each["endsIn"]) for each in found] == [
        ("a", "kept", None, None),
        ("b", "in use", None, None),
    ]
    assert (found[0]["owner"], found[0]["spec"], found[0]["nodes"]) == ("ada", "a.yaml", ["one", "two"])


def test_a_cluster_that_a_run_uses_is_not_reset(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.begin(replace(kept("a"), ready=True))
    share = ledger.try_share("a")
    assert share is not None

    assert main(["reset", "a"]) == exit_codes.USAGE
    share.release()

    assert "cluster a is in use by a run" in capsys.readouterr().err


def test_of_a_cluster_whose_processes_ended_nothing_can_be_reset(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.begin(replace(kept("a"), ready=True))

    assert main(["reset", "a"]) == exit_codes.USAGE

    assert "the processes of cluster a have ended" in capsys.readouterr().err
    assert ledger.try_hold("a") is not None


def test_a_cluster_on_machines_is_not_reset_and_the_reason_is_said(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.begin(replace(kept("a"), ready=True, provider="ssh"))

    assert main(["reset", "a"]) == exit_codes.USAGE

    assert "a is on machines of yours, and can't be brought back to a first state" in capsys.readouterr().err


@pytest.fixture
def gone(ledger: Ledger, tmp_path: Path) -> Path:
    """The folder of a cluster `a` that others made, whose API server answers no more."""
    folder = tmp_path / "clusters" / "a"
    ledger.begin(replace(kept("a"), provider="kubeconfig", run_id="run-1", folder=str(folder)))
    folder.mkdir(parents=True)
    named = {
        "contexts": ("context", {"cluster": "a", "user": "a"}),
        "clusters": ("cluster", {"server": "http://127.0.0.1:1"}),
        "users": ("user", {"token": "made-up"}),
    }
    parts = {kind: [{"name": "a", one: value}] for kind, (one, value) in named.items()}
    (folder / "kubeconfig").write_text(
        json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "a", **parts})
    )
    return folder


def test_a_cluster_whose_api_is_gone_stays_known_and_it_is_said_how_to_forget_it(
    ledger: Ledger, gone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["down", "a"]) == exit_codes.TEARDOWN_FAILED

    assert "if what it was on is gone for good: koalesce down a --forget" in capsys.readouterr().err
    assert (len(ledger.entries()), gone.exists()) == (1, True)


def test_it_is_forgotten_where_that_is_said_and_what_may_be_left_is_told(
    ledger: Ledger, gone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["down", "a", "--forget"]) == exit_codes.PASSED

    told = capsys.readouterr()
    assert told.out.startswith("a: forgotten (")
    assert "what is left in the cluster can't be told" in told.err
    assert "kubectl delete namespaces -l koalesce.dev/run=run-1" in told.err
    assert (ledger.entries(), gone.exists()) == ([], False)


@pytest.mark.parametrize("words", [["--all", "--forget"], ["a", "--forget", "--machines", "m.yaml"]])
def test_only_clusters_that_are_named_are_forgotten(
    ledger: Ledger, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.begin(kept("a"))

    assert main(["down", *words]) == exit_codes.USAGE

    assert "--forget goes with names of clusters alone" in capsys.readouterr().err
    assert len(ledger.entries()) == 1


@pytest.mark.parametrize("provider", ["local", "qemu", "hcloud"])
def test_what_is_here_or_costs_money_is_not_forgotten(
    ledger: Ledger, destroyed: list[str], provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.begin(replace(kept("a"), provider=provider))

    assert main(["down", "a", "--forget"]) == exit_codes.USAGE

    assert f"all that it has is the {provider} provider's to remove" in capsys.readouterr().err
    assert (destroyed, len(ledger.entries())) == ([], 1)


def test_reset_says_what_still_differs(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = [["pods/default/a was not there at first"], []]
    monkeypatch.setattr(LocalProvider, "reset", lambda _self, _entry: left.pop(0))
    ledger.begin(replace(kept("a"), ready=True, supervisor=Process.of(os.getpid())))

    assert main(["reset", "a"]) == exit_codes.ERROR
    assert "is not as it was at first:\n  pods/default/a was not" in capsys.readouterr().err
    assert main(["reset", "a"]) == exit_codes.PASSED
    assert capsys.readouterr().out.startswith("a: as it was at first (")


@pytest.mark.parametrize(
    ("user", "said"),
    [
        (0, "no cluster is up\n"),
        (1000, "no cluster is up, of this user; root's are told by: sudo koalesce clusters\n"),
    ],
)
def test_no_cluster_is_said_to_be_up(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, user: int, said: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)

    assert main(["clusters"]) == exit_codes.PASSED
    assert capsys.readouterr().out == said


def test_names_alone_are_for_scripts(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("b", "a"):
        ledger.begin(kept(name))

    assert main(["clusters", "-q"]) == exit_codes.PASSED
    assert capsys.readouterr().out == "a\nb\n"


def test_looking_at_clusters_sweeps_the_dead(
    ledger: Ledger, destroyed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.begin(Entry(name="dead"))
    ledger.begin(kept("kept"))
    living = _held(ledger, "living")

    assert main(["clusters", "-q"]) == exit_codes.PASSED

    assert destroyed == ["dead"]
    assert capsys.readouterr() == ("kept\nliving\n", "removed dead, left by a dead run\n")
    living.release()


def test_sweep_says_what_it_removed(ledger: Ledger, destroyed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    ledger.begin(Entry(name="dead"))

    assert main(["sweep"]) == exit_codes.PASSED
    assert main(["sweep"]) == exit_codes.PASSED

    assert capsys.readouterr().out == "dead: removed\nnothing to sweep\n"


def test_sweep_names_the_logs_of_clusters_that_could_not_be_made(
    ledger: Ledger, destroyed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ledger.folder.parent / "terraform" / "failed"
    folder.mkdir(parents=True)
    (folder / "terraform.log").touch()
    os.utime(folder, (0, datetime(2100, 1, 1, tzinfo=UTC).timestamp()))

    assert main(["sweep"]) == exit_codes.PASSED

    left = f"left to be looked at, until 2100-01-08 00:00 UTC: {folder}/terraform.log"
    assert capsys.readouterr().out == f"nothing to sweep\n{left}\n"


def test_sweep_fails_where_something_resists(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from koalesce.errors import TeardownError

    def down(session: ClusterSession) -> None:
        raise TeardownError("left: link veth1", command="koalesce down dead")

    monkeypatch.setattr(ClusterSession, "down", down)
    ledger.begin(Entry(name="dead"))

    assert main(["sweep"]) == exit_codes.TEARDOWN_FAILED
    assert capsys.readouterr().err == (
        "warning: dead, left by a dead run: left: link veth1\n  hint: koalesce down dead\n"
    )


def test_a_cloud_is_swept_by_what_bears_marks_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {"koalesce-run": "r1", "koalesce-expires": "20200101T000000Z"}
    cloud = FakeHcloud(seconds=0.0)
    for name, more in (("old", {}), ("new", {"koalesce-run": "r2", "koalesce-expires": "29990101T000000Z"})):
        cloud.answer("POST", "/networks", {}, {"name": name, "ip_range": "10.80.0.0/24", "labels": {**labels, **more}})
    with serving(cloud) as url:
        monkeypatch.setenv("HCLOUD_ENDPOINT", url)
        monkeypatch.setenv("HCLOUD_TOKEN", TOKEN)
        codes = [main(["sweep", "--provider", "hcloud"]), main(["sweep", "--provider", "hcloud", "--run", "r2"])]
        monkeypatch.delenv("HCLOUD_TOKEN")
        codes.append(main(["sweep", "--provider", "hcloud", "--expired"]))

    said = capsys.readouterr()
    assert codes == [exit_codes.PASSED, exit_codes.PASSED, exit_codes.USAGE]
    assert said.out == (
        "network old (1001): removed\nleft alone: 1 of run r2, until 2999-01-01 00:00 UTC\nnetwork new (1002): removed\n"
    )
    assert "HCLOUD_TOKEN isn't set" in said.err


def test_expiry_and_runs_are_about_clouds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--run", "r1"]) == exit_codes.USAGE
    assert "koalesce sweep --provider hcloud" in capsys.readouterr().err


def test_down_destroys_what_it_is_told(
    ledger: Ledger, destroyed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        ledger.begin(kept(name))

    assert main(["down", "c", "a", "c"]) == exit_codes.PASSED

    assert destroyed == ["c", "a"]
    assert [line.partition(" (")[0] for line in capsys.readouterr().out.splitlines()] == [
        "c: destroyed",
        "a: destroyed",
    ]


def test_down_all_leaves_those_of_living_runs(ledger: Ledger, destroyed: list[str]) -> None:
    ledger.begin(kept("kept"))
    ledger.begin(Entry(name="dead"))
    living = _held(ledger, "living")

    assert main(["down", "--all"]) == exit_codes.PASSED

    assert sorted(destroyed) == ["dead", "kept"]
    living.release()


def test_down_of_a_living_runs_cluster_is_refused(
    ledger: Ledger, destroyed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    living = _held(ledger, "living")

    assert main(["down", "living"]) == exit_codes.USAGE

    assert "belongs to a run that is alive" in capsys.readouterr().err
    assert destroyed == []
    living.release()


def test_down_goes_on_after_one_that_is_refused(
    ledger: Ledger, destroyed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    living = _held(ledger, "a")
    ledger.begin(kept("b"))

    assert main(["down", "a", "b"]) == exit_codes.ERROR

    assert destroyed == ["b"]
    assert capsys.readouterr().err.startswith("a: cluster a belongs to a run that is alive")
    living.release()


@pytest.mark.parametrize("words", [["down"], ["down", "a", "--all"]])
def test_down_wants_names_or_all(words: list[str], ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == exit_codes.USAGE
    assert "name the clusters, or say --all" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["down", "nope"], ["ssh", "nope", "node"]])
def test_an_unknown_cluster_is_told_with_those_that_are_up(
    words: list[str], ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.begin(kept("quick-1"))

    assert main(words) == exit_codes.USAGE
    assert capsys.readouterr().err == 'error: no cluster is called "nope"\n  hint: up are: quick-1\n'


def test_up_tells_how_to_go_on() -> None:
    ready = ClusterReady(
        spec="a.yaml", cluster="quick-1", provider="local", kubernetes="1.37.2", nodes=({"name": "one"},),
        capabilities=("node-exec",), kubeconfig="/my folder/kubeconfig", seconds=4.0,
    )  # fmt: skip

    assert up.usage(ready).splitlines() == [
        "cluster quick-1 is up: Kubernetes 1.37.2, 1 node",
        "  export KUBECONFIG='/my folder/kubeconfig'   # then kubectl get nodes",
        "  koalesce ssh quick-1 one   # a shell on a node",
        "  koalesce reset quick-1   # back to how it is now",
        "  koalesce down quick-1   # destroy it",
    ]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"status": "passed"}, exit_codes.PASSED),
        ({"status": "error"}, exit_codes.ERROR),
        ({"status": "failed"}, exit_codes.FAILED),
        ({"status": "error", "interrupted": True}, exit_codes.INTERRUPTED),
        ({"status": "error", "teardown_failed": True}, exit_codes.TEARDOWN_FAILED),
    ],
)
def test_up_passes_although_no_test_ran(fields: dict[str, object], code: int) -> None:
    counts = {"passed": 0, "failed": 0, "error": 0, "skipped": 0, "seconds": 1.0}

    assert up.code_of(RunFinished(**counts | fields)) == code  # type: ignore[arg-type]  # fields by name


def test_up_wants_one_spec(tmp_path: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("apiVersion: koalesce.dev/v1alpha1\nkind: Spec\n")

    assert main(["up", str(tmp_path)]) == exit_codes.USAGE
    assert "has 2 specs; name one" in capsys.readouterr().err


def _held(ledger: Ledger, name: str) -> Hold:
    hold = ledger.hold(name)
    ledger.begin(Entry(name=name))
    return hold
