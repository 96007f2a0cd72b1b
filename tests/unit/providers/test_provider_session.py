"""The order of things in a cluster's life, and that nothing is left however it ends."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from koalesce.assets import asset
from koalesce.capabilities import with_implied
from koalesce.cluster import ClusterRequest, FaultKind, Fixture, NodeRequest
from koalesce.errors import Interrupted, ProvisionError, TeardownError, UsageError
from koalesce.events import AnyEvent, ClusterReady, PhaseFinished, PhaseProgress, PhaseStarted
from koalesce.local.ledger import Entry, Ledger, NameInUse, Process, Thing
from koalesce.providers import roots
from koalesce.providers.roots import machines_of
from koalesce.providers.session import ClusterSession
from koalesce.providers.sweeping import condition, is_held, kept_logs, state, sweep
from koalesce.terraform.contract import ContractError
from koalesce.terraform.events import TerraformEvent

LIVING = Process.of(os.getpid())
GONE = Process(pid=os.getpid(), start=1)
FIXTURE = {"name": "c1", "kind": "host", "address": "198.18.1.10", "exec": ["nsenter", "--"]}
NODE = {"name": "one", "role": "control-plane", "address": "198.18.0.10", "pod_cidr": "10.244.0.0/24"}


@dataclass
class World:
    """All that exists outside of the session: what was done, and what of the cluster is there."""

    root: Path
    done: list[str] = field(default_factory=list)
    things: set[str] = field(default_factory=set)
    events: list[AnyEvent] = field(default_factory=list)
    fails: dict[str, BaseException] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    is_stubborn: bool = False
    outputs: dict[str, Any] = field(default_factory=dict)
    request: ClusterRequest = field(
        default_factory=lambda: ClusterRequest(
            name="quick-1", run_id="r1", provider="local", kubernetes="1.37",
            nodes=(NodeRequest(name="one", role="control-plane"),),
        )
    )  # fmt: skip

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.root / "clusters")
        self.kubeconfig = self.root / "kubeconfig"
        self.kubeconfig.write_text(_KUBECONFIG)

    @property
    def folder(self) -> Path:
        return self.root / "run"

    def session(self, cancel: threading.Event | None = None, **fields: Any) -> ClusterSession:
        request = replace(self.request, **fields)
        return ClusterSession(request, self.folder, spec="a.yaml", cancel=cancel, **self.parts())

    def of_entry(self, entry: Entry) -> ClusterSession:
        return ClusterSession.of_entry(entry, **self.parts())

    def parts(self) -> dict[str, Any]:
        return {"provider": FakeProvider(self), "terraform": self.terraform, "ledger": self.ledger}

    def terraform(self, folder: Path, **options: Any) -> FakeTerraform:
        return FakeTerraform(self, folder, **options)

    def does(self, what: str) -> None:
        self.done.append(what)
        if what in self.fails:
            raise self.fails[what]


ROOT = asset("terraform", "local")


@dataclass
class FakeProvider:
    world: World
    name: str = "local"
    makes_clusters: bool = True
    terraform_root: Path = ROOT
    fault_kinds: frozenset[FaultKind] = frozenset()

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        self.world.does("resolve")
        return replace(request, kubernetes="1.37.2")

    def confirm(self, request: ClusterRequest) -> None:
        self.world.does("confirm")

    def check(self, request: ClusterRequest) -> list[str]:
        return self.world.lacks

    def prepare(self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: object) -> ClusterRequest:
        progress("building etcd")
        self.world.does("prepare")
        return request

    def variables(self, request: ClusterRequest, folder: Path) -> dict[str, Any]:
        return {
            "name": request.name, "run_id": request.run_id, "kubernetes_version": request.kubernetes,
            "nodes": [{"name": node.name, "role": node.role} for node in request.nodes],
        }  # fmt: skip

    def faults(self, name: str) -> None:
        return None

    def note_first_state(self, name: str, *, wait: bool = False) -> None:
        self.world.does("note, and wait" if wait else "note")

    def differences(self, entry: Entry, ignored: Collection[str]) -> list[str]:
        return [f"{entry.name} without {', '.join(ignored)}"]

    def reset(self, entry: Entry) -> list[str]:
        self.world.does("reset")
        return []

    def remains(self, entry: Entry) -> list[str]:
        self.world.does("look")
        return sorted(self.world.things)

    def remove(self, name: str) -> None:
        self.world.does("remove")
        if not self.world.is_stubborn:
            self.world.things.clear()


class FreeingProvider(FakeProvider):
    """One whose clusters may have what Terraform doesn't know."""

    def free(self, entry: Entry, known: Collection[str]) -> None:
        self.world.does(f"free {entry.name} but {', '.join(sorted(known))}")


class AbandoningProvider(FakeProvider):
    """One whose clusters are on what others have."""

    def abandon(self, entry: Entry) -> str:
        self.world.does("abandon")
        return f"kubectl delete everything of {entry.run_id}"


@dataclass
class FakeTerraform:
    world: World
    folder: Path
    variables: dict[str, Any] | None = None
    on_event: Callable[[TerraformEvent], None] = lambda event: None
    cancel: threading.Event | None = None

    def init(self) -> None:
        (self.folder / "terraform.log").write_text("what Terraform said\n")
        assert self.world.ledger.find(self.world.request.name), "not in the ledger before Terraform starts"
        self.world.does("init")

    def apply(self) -> None:
        (self.folder / "terraform.tfstate").write_text("{}")
        self.world.things.add("link veth1")
        self.on_event(TerraformEvent(type="provision_progress", message="", output="Executing: [secret]"))
        self.on_event(TerraformEvent(type="provision_progress", message="", output="nodes ready"))
        for line in self.world.notices:
            self.on_event(TerraformEvent(type="provision_progress", message="", output=line))
        self.world.does("apply")

    def output(self) -> dict[str, Any]:
        node = NODE | {"exec": ["nsenter", "--"], "logs": {"kubelet": ["cat", "/log"]}}
        return {
            "contract": 1, "nodes": [node], "fixtures": [FIXTURE], "kubeconfig_path": str(self.world.kubeconfig), "api_endpoint": "https://a:1",
            "capabilities": ["node-exec"], "dns_ip": "10.96.0.10", "host_exec": ["nsenter"], "cleanup": {"argv": ["true"]},
        } | self.world.outputs  # fmt: skip

    def destroy(self) -> None:
        assert self.cancel is None, "destroy must not be cancelled"
        self.on_event(TerraformEvent(type="provision_progress", message="", output="ending nodes"))
        self.world.does("destroy")
        if not self.world.is_stubborn:
            self.world.things.clear()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_up_makes_what_the_outputs_tell(world: World) -> None:
    cluster = world.session().up(world.events.append)

    assert (cluster.name, cluster.kubernetes, cluster.dns_ip) == ("quick-1", "1.37.2", "10.96.0.10")
    assert cluster.kubeconfig == world.kubeconfig
    assert cluster.host_exec == ("nsenter",)
    assert cluster.capabilities == with_implied({"node-exec"})
    assert (cluster.probe_image, {"probe-icmp"} <= cluster.capabilities) == ("", True)
    node = cluster.node("one")
    assert (node.role, node.address, node.pod_cidr) == ("control-plane", "198.18.0.10", "10.244.0.0/24")
    assert (node.exec, node.logs) == (("nsenter", "--"), {"kubelet": ("cat", "/log")})
    assert cluster.fixtures == (Fixture(name="c1", kind="host", address="198.18.1.10", exec=("nsenter", "--")),)


def test_what_terraform_never_heard_of_is_freed_before_it_destroys(world: World) -> None:
    session = ClusterSession(world.request, world.folder, **{**world.parts(), "provider": FreeingProvider(world)})
    session.up()
    resources = [{"instances": [{"attributes": {"id": "7"}}, {"attributes": {"id": "8"}}]}, {"instances": [{}]}]
    (world.folder / "terraform.tfstate").write_text(json.dumps({"resources": resources}))

    session.down()

    assert [each for each in world.done if each.startswith(("free", "destroy"))] == ["free quick-1 but 7, 8", "destroy"]


def test_a_time_to_live_that_the_provider_sets_counts_for_a_kept_cluster(world: World) -> None:
    session = world.session(ttl=60.0)
    session.up()
    session.keep()

    entry = world.ledger.find("quick-1")
    assert entry is not None
    assert entry.ttl == 60.0


def test_up_tells_of_its_phases(world: World) -> None:
    world.session().up(world.events.append)

    assert [_brief(event) for event in world.events] == [
        "start toolchain", "toolchain: building etcd", "passed toolchain",
        "start terraform init", "passed terraform init",
        "start terraform apply", "terraform apply: nodes ready", "passed terraform apply",
        "ready quick-1 1.37.2",
    ]  # fmt: skip
    assert {event.spec for event in world.events} == {"a.yaml"}  # type: ignore[union-attr]  # none is of the run


def test_what_a_destroy_tells_is_of_the_destroy(world: World) -> None:
    session = world.session()
    session.up(world.events.append)

    session.down()

    assert _brief(world.events[-1]) == "terraform destroy: ending nodes"


def test_what_makers_of_clusters_notice_is_told_as_that(world: World) -> None:
    world.notices = ["note: a firewall", "a note: of no kind"]

    world.session().up(world.events.append)

    told = [_brief(event) for event in world.events if isinstance(event, PhaseProgress)]
    assert told[-2:] == ["terraform apply: NOTE a firewall", "terraform apply: a note: of no kind"]


def test_the_copy_of_the_root_is_ours_alone(world: World) -> None:
    world.session().up()

    assert (world.folder / "main.tf").exists()
    assert stat.S_IMODE(world.folder.stat().st_mode) == 0o700


def test_a_cluster_is_held_and_written_down_while_it_is_up(world: World) -> None:
    session = world.session()
    session.up()

    entry = world.ledger.find("quick-1")
    assert entry is not None
    assert (entry.run_id, entry.kubernetes, entry.nodes, entry.ready) == ("r1", "1.37.2", ("one",), True)
    assert entry.kubeconfig == str(world.kubeconfig)
    assert is_held("quick-1", world.ledger)
    assert state(entry, world.ledger) == "running"


def test_down_destroys_looks_and_forgets(world: World) -> None:
    session = world.session()
    session.up()
    world.done.clear()

    session.down()

    assert world.done == ["destroy", "look"]
    assert world.things == set()
    assert not world.folder.exists()
    assert world.ledger.entries() == []
    assert not is_held("quick-1", world.ledger)


def test_files_of_others_in_the_folder_stay(world: World) -> None:
    world.folder.mkdir()
    (world.folder / "notes.txt").write_text("mine")
    session = world.session()
    session.up()

    session.down()

    assert [path.name for path in world.folder.iterdir()] == ["notes.txt"]


def test_the_first_state_is_noted_of_a_cluster_that_is_up(world: World) -> None:
    session = world.session()
    session.note_first_state()
    assert world.done == []

    session.up()
    session.note_first_state()
    session.note_first_state(wait=True)

    assert world.done[-2:] == ["note", "note, and wait"]


def test_what_differs_from_it_is_asked_of_the_provider_while_there_is_a_cluster(world: World) -> None:
    session = world.session()
    session.up()

    assert session.differences(["a", "b"]) == ["quick-1 without a, b"]

    session.down()
    with pytest.raises(ProvisionError, match="quick-1 is gone"):
        session.differences([])


def test_down_twice_is_as_good_as_once(world: World) -> None:
    session = world.session()
    session.up()
    session.down()
    world.done.clear()

    session.down()

    assert world.done == []


@pytest.mark.parametrize("stage", ["init", "apply"])
@pytest.mark.parametrize(
    "error", [ProvisionError("no address is free"), Interrupted(), KeyboardInterrupt(), MemoryError()]
)
def test_whatever_ends_up_early_is_followed_by_its_undoing(world: World, stage: str, error: BaseException) -> None:
    world.fails[stage] = error

    with pytest.raises(type(error)) as caught:
        world.session().up()

    assert caught.value is error
    assert world.things == set()
    assert world.ledger.entries() == []
    assert not is_held("quick-1", world.ledger)
    assert [what for what in world.done if what in ("destroy", "look")][-1:] == (["look"] if stage == "apply" else [])
    assert ("destroy" in world.done) == (stage == "apply")


def test_outputs_that_break_the_contract_are_a_failed_apply(world: World) -> None:
    world.outputs = {"contract": 2}

    with pytest.raises(ContractError):
        world.session().up()

    assert "destroy" in world.done
    assert world.ledger.entries() == []


def test_a_root_of_another_contract_is_refused_before_anything_is_made(world: World, tmp_path: Path) -> None:
    root = tmp_path / "newer"
    root.mkdir()
    text = (ROOT / "outputs.tf").read_text()
    (root / "outputs.tf").write_text(text.replace("value       = 1\n", "value       = 2\n", 1))

    with pytest.raises(ContractError, match="keeps contract 2, this version of Koalesce knows contract 1"):
        ClusterSession(
            world.request, world.folder, **{**world.parts(), "provider": FakeProvider(world, terraform_root=root)}
        ).up()

    assert "init" not in world.done
    assert (world.things, world.ledger.entries()) == (set(), [])


def test_of_a_failed_apply_only_the_log_stays(world: World) -> None:
    world.fails["apply"] = ProvisionError("no address is free")

    with pytest.raises(ProvisionError):
        world.session().up()

    assert [path.name for path in world.folder.iterdir()] == ["terraform.log"]


def test_of_an_interrupted_apply_nothing_stays(world: World) -> None:
    world.fails["apply"] = Interrupted()

    with pytest.raises(Interrupted):
        world.session().up()

    assert not world.folder.exists()


def test_where_terraform_can_not_destroy_the_provider_removes(world: World) -> None:
    session = world.session()
    session.up()
    world.fails["destroy"] = ProvisionError("state is locked")

    session.down()

    assert world.done[-3:] == ["look", "remove", "look"]
    assert world.things == set()


def test_what_terraform_overlooks_the_provider_removes(world: World) -> None:
    session = world.session()
    session.up()
    session._terraform = lambda folder, **options: _Forgetful(world, folder, **options)

    session.down()

    assert world.done[-4:] == ["destroy", "look", "remove", "look"]
    assert world.things == set()


def test_a_supervisor_that_has_removed_all_is_given_the_time_to_end(world: World) -> None:
    session = world.session()
    session.up()
    with subprocess.Popen(["sleep", "60"]) as supervisor:
        world.ledger.change("quick-1", supervisor=Process.of(supervisor.pid))
        world.things = {"process"}
        world.is_stubborn = True

        def end() -> None:
            while "remove" not in world.done:
                time.sleep(0.01)
            world.things.clear()
            supervisor.kill()
            supervisor.wait()

        ending = threading.Thread(target=end)
        ending.start()
        session.down()
        ending.join()
    assert world.ledger.entries() == []


def test_what_resists_is_an_error_with_the_command_and_stays_known(world: World) -> None:
    session = world.session()
    session.up()
    world.is_stubborn = True

    with pytest.raises(TeardownError) as caught:
        session.down()

    assert caught.value.message == "cluster quick-1 is not gone; left: link veth1"
    assert caught.value.command == "koalesce down quick-1"
    assert world.ledger.find("quick-1") is not None
    assert world.folder.exists()


def test_what_is_gone_for_good_can_be_forgotten_and_what_may_be_left_is_told(world: World) -> None:
    session = _kept_and_found_again(world, AbandoningProvider(world))
    world.is_stubborn = True

    left = session.forget()

    assert left == "cluster quick-1 is not gone; left: link veth1\nkubectl delete everything of r1"
    assert world.done[-3:] == ["remove", "look", "abandon"], "first all is tried that may remove it"
    assert world.ledger.entries() == []
    assert not world.folder.exists()
    assert not is_held("quick-1", world.ledger)


def test_what_can_be_removed_is_not_forgotten(world: World) -> None:
    assert _kept_and_found_again(world, AbandoningProvider(world)).forget() == ""

    assert "abandon" not in world.done
    assert (world.things, world.ledger.entries()) == (set(), [])


def test_what_only_its_provider_can_remove_is_never_forgotten(world: World) -> None:
    session = _kept_and_found_again(world, FakeProvider(world))

    with pytest.raises(UsageError, match="quick-1 can't be forgotten"):
        session.forget()

    assert world.done == []
    assert [entry.keep for entry in world.ledger.entries()] == [True]
    assert not is_held("quick-1", world.ledger)


def _kept_and_found_again(world: World, provider: FakeProvider) -> ClusterSession:
    session = world.session()
    session.up()
    session.keep()
    world.done.clear()
    (entry,) = world.ledger.entries()
    return ClusterSession.of_entry(entry, **{**world.parts(), "provider": provider})


def test_a_failed_teardown_after_a_failed_apply_tells_both(world: World) -> None:
    world.is_stubborn = True
    world.fails = {"apply": ProvisionError("no address is free"), "destroy": ProvisionError("state is locked")}

    with pytest.raises(TeardownError) as caught:
        world.session().up()

    assert caught.value.message == (
        "no address is free\nand then cluster quick-1 is not gone (state is locked); left: link veth1"
    )


def test_what_to_do_is_said_once_whoever_else_has_said_it_to_terraform(world: World) -> None:
    session = world.session()
    session.up()
    world.is_stubborn = True
    said = TeardownError("of cluster quick-1 there is still: link veth1", command="koalesce down quick-1")
    world.fails = {"destroy": ProvisionError(f"terraform destroy failed: provisioner error: {said}")}

    with pytest.raises(TeardownError) as caught:
        session.down()

    assert str(caught.value) == (
        "cluster quick-1 is not gone (terraform destroy failed: provisioner error: of cluster quick-1 there is still: link veth1); "
        "left: link veth1\n  hint: remove it with: koalesce down quick-1"
    )


def test_a_provider_that_can_not_remove_says_why(world: World) -> None:
    session = world.session()
    session.up()
    world.is_stubborn = True
    world.fails["remove"] = ProvisionError("cgroup is busy")

    with pytest.raises(TeardownError, match="left: cgroup is busy"):
        session.down()


def test_a_machine_that_lacks_something_is_left_alone(world: World) -> None:
    world.lacks = ["local clusters need root", "Terraform is missing"]

    with pytest.raises(ProvisionError) as caught:
        world.session().up()

    assert caught.value.message == "no local cluster can be made here: local clusters need root; Terraform is missing"
    assert world.done == ["resolve"]
    assert world.ledger.entries() == []
    assert not world.folder.exists()


def test_a_full_disk_is_an_error_of_ours_and_all_is_undone(world: World) -> None:
    world.fails["init"] = OSError(errno.ENOSPC, "No space left on device", "/runs/terraform.log")

    with pytest.raises(ProvisionError) as caught:
        world.session().up()

    assert caught.value.message == "the cluster can't be made: /runs/terraform.log: No space left on device"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(
        f"make room on the disk that holds {world.folder.parent}, or set KOALESCE_STATE"
    )
    assert world.ledger.entries() == []


def test_a_folder_that_can_not_be_removed_is_a_failed_teardown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = world.session()
    session.up()

    def unlink(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "unlink", unlink)

    with pytest.raises(TeardownError, match=r"cluster quick-1 can't be removed: .*: Operation not permitted"):
        session.down()


def test_a_bad_name_is_refused_first(world: World) -> None:
    with pytest.raises(UsageError, match="can't be the name of a cluster"):
        world.session(name="Quick").up()

    assert world.done == []


def test_a_name_in_use_is_refused_and_the_other_cluster_left_alone(world: World) -> None:
    world.session().up()
    other = World(world.root)

    with pytest.raises(NameInUse):
        other.session().up()

    assert "destroy" not in other.done
    assert world.things == {"link veth1"}
    assert world.ledger.find("quick-1") is not None


def test_a_kept_name_is_refused_and_its_lock_is_free_again(world: World) -> None:
    session = world.session()
    session.up()
    session.keep()

    with pytest.raises(NameInUse, match="koalesce down quick-1"):
        world.session().up()

    assert not is_held("quick-1", world.ledger)
    assert world.things == {"link veth1"}


def test_a_kept_cluster_stays_and_can_be_destroyed_by_another_process(world: World) -> None:
    session = world.session()
    session.up()
    session.keep()
    session.down()  # nothing to do any more

    entry = world.ledger.find("quick-1")
    assert entry is not None
    assert state(entry, world.ledger) == "kept"
    assert world.things == {"link veth1"}
    assert sweep(world.ledger, world.of_entry) == []

    world.of_entry(entry).down()

    assert world.things == set()
    assert world.ledger.entries() == []
    assert not world.folder.exists()


def test_a_kept_cluster_whose_destruction_was_broken_off_is_swept(world: World) -> None:
    session = world.session()
    session.up()
    session.keep()
    entry = world.ledger.find("quick-1")
    assert entry is not None
    ending = world.of_entry(entry)
    world.fails["destroy"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        ending.down()
    ending._let_go()
    del world.fails["destroy"]

    swept = sweep(world.ledger, world.of_entry)

    assert [(one.name, one.problem) for one in swept] == [("quick-1", "")]
    assert world.things == set()


def test_a_sweep_with_patience_waits_for_a_supervisor_that_removes_its_cluster(world: World) -> None:
    hold = world.ledger.hold("a")
    world.ledger.add(Entry(name="a", supervisor=LIVING, session={"terraform": "/a"}))

    def remove() -> None:
        world.ledger.remove("a")
        hold.release()

    timer = threading.Timer(0.1, remove)
    timer.start()

    assert sweep(world.ledger, world.of_entry, patience=20) == []
    assert world.ledger.entries() == []
    timer.join()


def test_a_cluster_of_a_living_run_is_not_destroyed_by_others(world: World) -> None:
    world.session().up()
    entry = world.ledger.find("quick-1")
    assert entry is not None

    with pytest.raises(UsageError, match="belongs to a run that is alive"):
        world.of_entry(entry)


def test_a_dead_runs_cluster_is_swept(world: World) -> None:
    _die(world)

    swept = sweep(world.ledger, world.of_entry)

    assert [(one.name, one.problem) for one in swept] == [("quick-1", "")]
    assert world.things == set()
    assert world.ledger.entries() == []


def test_a_dead_cluster_that_resists_is_told_and_stays_known(world: World) -> None:
    _die(world)
    world.is_stubborn = True

    swept = sweep(world.ledger, world.of_entry)

    assert [(one.name, one.command) for one in swept] == [("quick-1", "koalesce down quick-1")]
    assert "link veth1" in swept[0].problem
    assert world.ledger.find("quick-1") is not None


def test_a_dead_cluster_without_its_folder_is_removed_by_the_provider(world: World) -> None:
    _die(world)
    for path in world.folder.iterdir():
        path.unlink()
    world.folder.rmdir()

    sweep(world.ledger, world.of_entry)

    assert "destroy" not in world.done
    assert world.things == set()


def test_a_living_runs_cluster_is_not_swept(world: World) -> None:
    world.session().up()

    assert sweep(world.ledger, world.of_entry) == []
    assert world.things == {"link veth1"}


def test_orphaned_copies_of_roots_are_removed_and_logs_of_failures_once_they_are_old(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, log = "koalesce.auto.tfvars.json", "terraform.log"
    for name, file, age in (
        ("gone", root, 0), ("known", root, 0), ("held", root, 0), ("failed", log, 3600), ("failed-long-ago", log, 30 * 24 * 3600),
        ("failed-a-week-ago", log, 7 * 24 * 3600 + 60), ("failed-this-week", log, 7 * 24 * 3600 - 3600), ("foreign", "main.tf", 30 * 24 * 3600),
    ):  # fmt: skip
        folder = world.root / "terraform" / name
        folder.mkdir(parents=True)
        (folder / file).touch()
        then = folder.stat().st_mtime - age
        os.utime(folder, (then, then))
    (world.root / "terraform" / "just-begun").mkdir()
    world.ledger.begin(Entry(name="known", keep=True))
    hold = world.ledger.hold("held")

    sweep(world.ledger, world.of_entry)

    left = {path.name for path in (world.root / "terraform").iterdir()}
    assert left == {"failed", "failed-this-week", "foreign", "held", "known"}
    assert {path.parent.name for path in kept_logs(world.ledger)} == {"failed", "failed-this-week"}
    hold.release()


def test_a_copy_that_was_not_finished_is_swept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run was killed while it copied the root."""
    source, folder = world.root / "source", world.root / "terraform" / "killed"
    source.mkdir()
    (source / "main.tf").touch()

    def killed(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr("koalesce.providers.roots.shutil.copyfile", killed)
    with pytest.raises(SystemExit):
        roots.copy(source, folder)

    sweep(world.ledger, world.of_entry)

    assert not folder.exists()


def test_machines_of_a_cluster_without_state_can_not_be_had(world: World) -> None:
    with pytest.raises(ProvisionError, match="there is no Terraform state"):
        machines_of(Entry(name="quick-1", session={"terraform": str(world.root / "nowhere")}))


def test_machines_of_a_cluster_of_plain_terraform_are_in_its_own_folder(world: World) -> None:
    node = NODE | {"exec": ["nsenter", "--"], "logs": {}}
    (world.root / "outputs.json").write_text(json.dumps({"nodes": [node]}))

    (found,) = machines_of(
        Entry(name="plain", folder=str(world.root), session={"terraform": str(world.root / "nowhere")})
    )

    assert (found.name, found.exec) == ("one", ("nsenter", "--"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"session": {"terraform": "/a"}}, "dead"),
        ({"session": {"terraform": "/a"}, "supervisor": LIVING}, "dead"),
        ({"session": {"terraform": "/a"}, "keep": True}, "kept"),
        ({"session": {"ttl": 60}, "keep": True, "created": "2020-01-01T00:00:00+00:00"}, "dead"),
        ({"session": {"ttl": 1e12}, "keep": True, "created": "2020-01-01T00:00:00+00:00"}, "kept"),
        ({"session": {"terraform": "/a"}, "keep": True, "supervisor": LIVING}, "kept"),
        ({"session": {"terraform": "/a"}, "keep": True, "supervisor": GONE}, "dead"),
        ({"supervisor": LIVING}, "kept"),
        ({"supervisor": GONE}, "dead"),
        ({}, "dead"),
    ],
)
def test_the_state_of_a_cluster_that_nobody_holds(world: World, fields: dict[str, Any], expected: str) -> None:
    assert state(Entry(name="a", **fields), world.ledger) == expected


@pytest.mark.parametrize(("ready", "before"), [(True, "in use"), (False, "starting")])
def test_a_cluster_whose_supervisor_took_it_over_from_a_dead_run_is_ending(
    world: World, ready: bool, before: str
) -> None:
    entry = Entry(name="a", session={"terraform": "/a"}, ready=ready, supervisor=Process.of(1))

    with world.ledger.hold("a"):  # by this process, which is not its supervisor
        assert condition(entry, world.ledger) == before
        assert condition(replace(entry, supervisor=LIVING), world.ledger) == "ending"


def test_the_local_provider_lists_what_the_ledger_knew(world: World, tmp_path: Path) -> None:
    from koalesce.providers.local import LocalProvider

    (tmp_path / "group").mkdir()
    entry = Entry(
        name="a",
        things=(Thing("cgroup", str(tmp_path / "group")), Thing("folder", str(tmp_path / "gone")), Thing("link", "lo"), Thing("link", "no0")),
    )  # fmt: skip

    assert LocalProvider().remains(entry) == [f"cgroup {tmp_path / 'group'}", "link lo"]


class _Forgetful(FakeTerraform):
    """Whose state doesn't know of what it made."""

    def destroy(self) -> None:
        self.world.does("destroy")


def _die(world: World) -> None:
    """A runner that ends without a word: the kernel frees its lock, nothing else happens."""
    session = world.session()
    session.up()
    world.done.clear()
    hold = session._hold
    assert hold is not None
    os.close(hold._descriptor)
    hold._descriptor = -1


def _brief(event: AnyEvent) -> str:
    match event:
        case PhaseStarted():
            return f"start {event.phase}"
        case PhaseProgress():
            return f"{event.phase}: {'NOTE ' if event.notice else ''}{event.message}"
        case PhaseFinished():
            return f"{event.status} {event.phase}"
        case ClusterReady():
            return f"ready {event.cluster} {event.kubernetes}"
        case _:
            return type(event).__name__


_KUBECONFIG = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
    }
)
