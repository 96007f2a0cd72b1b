"""Specs of one run that share clusters, and clusters that are made ahead, on clusters of fakes."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

import pytest

from koalesce import engine
from koalesce.cluster import Cluster, ClusterRequest
from koalesce.engine import RunOptions
from koalesce.engine.case import Stage
from koalesce.engine.needs import plan
from koalesce.engine.session import RunSession
from koalesce.errors import Interrupted, ProvisionError, TeardownError
from koalesce.events import (
    AnyEvent,
    ClusterReady,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    SpecFinished,
    SpecStarted,
    TeardownFinished,
    TestFinished,
)
from koalesce.providers.session import ClusterSession, ready_event
from koalesce.spec import LoadedSpec, load_all
from tests.fakes import FakeCluster, FakeNode
from tests.unit.engine.test_case import HEAD, Kube

SHARED = "cluster: {nodes: 1, shared: true}\n"
AHEAD = "cluster: {nodes: 1, pool: {size: 1}}\n"
TEST = "tests: [{name: t, steps: [{sleep: 1ms}]}]\n"


class Closing(Kube):
    """One that is let go of at the end."""

    def close(self) -> None:
        """Nothing is open."""


class Session(ClusterSession):
    """A cluster that is made of nothing, and remembers what was asked of it."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self.world = world
        self.cluster = cluster
        self.request = ClusterRequest(name=cluster.name, run_id="r", provider="local", kubernetes="1.37.2", nodes=())

    def note_first_state(self, *, wait: bool = False) -> None:
        self.world.done.append(f"note {self.request.name}" + (" and wait" if wait else ""))

    def differences(self, ignored: Collection[str]) -> list[str]:
        self.world.done.append(f"look at {self.request.name}")
        return self.world.left.get(self.request.name, [])

    def keep(self) -> None:
        self.world.up.discard(self.request.name)
        self.world.kept.add(self.request.name)

    def down(self) -> None:
        self.world.done.append(f"down {self.request.name}")
        self.world.up.discard(self.request.name)
        self.cluster = None
        if self.request.name in self.world.stubborn:
            raise TeardownError("it resists", command="koalesce down it")


class World:
    """The clusters that there are, and what runs of specs do to them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / ".git").mkdir()
        self.done: list[str] = []
        self.up: set[str] = set()
        self.most = 0  # that were up at once
        self.kept: set[str] = set()
        self.left: dict[str, list[str]] = {}  # by cluster, what a look at it finds
        self.stubborn: set[str] = set()
        self.refused: set[str] = set()  # specs whose clusters can't be made
        self.hang: set[str] = set()  # specs whose clusters are made for ever
        self.begun: set[str] = set()  # specs whose clusters are made, or were
        self.kubes: dict[str, Closing] = {}

    def specs(self, *texts: str) -> tuple[str, ...]:
        paths = []
        for number, text in enumerate(texts):
            path = self.root / f"{'abcdefgh'[number]}.yaml"
            path.write_text(HEAD.replace("example", path.stem) + text)
            paths.append(str(path))
        return tuple(paths)

    def run(self, *texts: str, **options: Any) -> list[AnyEvent]:
        return list(engine.run(RunOptions(paths=self.specs(*texts), trust=True, **options)))

    def provision(
        self, session: RunSession, loaded: LoadedSpec, options: RunOptions, *, name: Callable[[str], str], folder: Path,
        opened: Callable[[ClusterSession], None],
    ) -> Stage:  # fmt: skip
        mine = name("")
        session.emit(PhaseStarted(spec=loaded.shown, phase="terraform apply"))
        self.begun.add(loaded.path.stem)
        if loaded.path.stem in self.hang:
            session.cancel.wait(30)
            raise Interrupted
        if loaded.path.stem in self.refused:
            raise ProvisionError("no disk")
        fake = FakeCluster(nodes=[FakeNode("worker-1")])
        fake.kube = self.kubes[mine] = Closing()
        cluster = dataclasses.replace(cast("Cluster", fake.real()), name=mine)
        assert mine not in self.up, f"two clusters are named {mine}"
        self.up.add(mine)
        self.most = max(self.most, len(self.up))
        self.done.append(f"make {loaded.path.stem}")
        opened(Session(self, cluster))
        session.emit(PhaseFinished(spec=loaded.shown, phase="terraform apply", status="passed", seconds=1.0))
        session.emit(ready_event(cluster, loaded.shown, 1.0))
        return Stage(
            session=session, loaded=loaded, spec=loaded.shown, cluster=cluster, files=loaded.files, folder=folder,
            values={**loaded.scope, "components": {}}, timeout=60.0, disposable=not options.keep,
        )  # fmt: skip

    def of(self, letter: str) -> str:
        """The one cluster of a spec that was made."""
        (found,) = [name for name in self.kubes if name.startswith(f"{letter}-")]
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setattr("koalesce.engine.spec_run.provision", world.provision)
    monkeypatch.setattr("koalesce.engine.leaks._SETTLED", 0.2)
    monkeypatch.setattr("koalesce.engine.leaks._TIMEOUT", 30.0)
    monkeypatch.chdir(tmp_path)
    return world


def ends(events: list[AnyEvent]) -> list[tuple[str, str]]:
    return [(event.spec[0], event.status) for event in events if isinstance(event, SpecFinished)]


def last(events: list[AnyEvent]) -> RunFinished:
    end = events[-1]
    assert isinstance(end, RunFinished)
    return end


def test_specs_that_share_use_one_cluster_in_turn(world: World) -> None:
    events = world.run(SHARED + TEST, SHARED + TEST, SHARED + TEST)

    assert [each.split()[0] for each in world.done] == ["make", "note", "look", "look", "look", "down"]
    assert world.done[1].endswith("and wait")
    assert ends(events) == [("a", "passed"), ("b", "passed"), ("c", "passed")]
    ready = [(event.spec[0], event.reused) for event in events if isinstance(event, ClusterReady)]
    assert ready == [("a", False), ("b", True), ("c", True)]
    assert not world.up


def test_each_has_namespaces_of_its_own_there(world: World) -> None:
    setup = "setup: {steps: [{sleep: 1ms}]}\n"
    world.run(SHARED + setup + TEST, SHARED + setup + TEST)

    (kube,) = world.kubes.values()
    made = [what["object"]["metadata"]["name"] for verb, what in kube.requests if verb == "create"]
    gone = [what["name"] for verb, what in kube.requests if verb == "delete"]
    assert [name.rpartition("-")[0] for name in made] == ["setup", "t", "setup", "t"]
    assert len(set(made)) == 4
    assert sorted(gone) == sorted(made)


def test_values_are_the_specs_own(world: World) -> None:
    own = (
        "vars: {who: %s}\ntests: [{name: t, steps: [{script: 'test ${{ vars.who }} = %s -a ${{ namespace }} != x'}]}]\n"
    )

    assert last(world.run(SHARED + own % ("one", "one"), SHARED + own % ("two", "two"))).passed == 2


def test_what_a_spec_leaves_fails_it_and_the_next_has_a_cluster_of_its_own(world: World) -> None:
    original = world.provision

    def leaky(*args: Any, **more: Any) -> Stage:
        stage = original(*args, **more)
        if not world.left:
            world.left[stage.cluster.name] = [
                "configmaps/default/a was not there at first",
                "worker-1: route x is missing",
            ]
        return stage

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("koalesce.engine.spec_run.provision", leaky)
        events = world.run(SHARED + TEST, SHARED + TEST, SHARED + TEST)

    assert ends(events) == [("a", "failed"), ("b", "passed"), ("c", "passed")]
    (failed,) = [event for event in events if isinstance(event, SpecFinished) and event.status == "failed"]
    assert failed.message == (
        f"left in the shared cluster {world.of('a')}: configmaps/default/a was not there at first (and 1 more thing)\n"
        "worker-1: route x is missing"
    )
    assert [each for each in world.done if each.startswith(("make", "down"))] == [
        "make a", f"down {world.of('a')}", "make b", f"down {world.of('b')}",
    ]  # fmt: skip
    assert (last(events).status, last(events).failed) == ("failed", 0)
    assert not world.up


def test_the_last_one_is_looked_at_as_well(world: World) -> None:
    def look(session: Session, _ignored: Collection[str]) -> list[str]:
        return ["nodes/worker-1 is missing, or has changed"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "differences", look)
        assert ends(world.run(SHARED + TEST)) == [("a", "failed")]


def test_that_it_can_not_be_told_is_an_error(world: World) -> None:
    def look(session: Session, _ignored: Collection[str]) -> list[str]:
        raise ProvisionError("worker-1 has ended")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "differences", look)
        events = world.run(SHARED + TEST)

    assert ends(events) == [("a", "error")]
    assert "can't be told what is left" in next(e.message for e in events if isinstance(e, SpecFinished))


def test_what_goes_with_namespaces_on_their_way_out_is_not_left(world: World) -> None:
    began: list[float] = []

    def look(session: Session, ignored: Collection[str]) -> list[str]:
        (kube,) = world.kubes.values()
        began.append(time.monotonic())
        if len(began) == 1:
            labels = {"koalesce.dev/run": next(iter(made_by(kube)))}
            going = {"name": "going", "labels": labels, "deletionTimestamp": "2026-01-01T00:00:00Z"}
            kube.add({"apiVersion": "v1", "kind": "Namespace", "metadata": going})
        if began[-1] - began[0] < 1.0:  # several times what settles otherwise
            return ["persistentvolumes/a was not there at first"]
        assert list(ignored) == ["going"]
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "differences", look)
        assert ends(world.run(SHARED + TEST)) == [("a", "passed")]


def made_by(kube: Kube) -> set[str]:
    """The runs that have made namespaces."""
    return {
        what["object"]["metadata"]["labels"]["koalesce.dev/run"] for verb, what in kube.requests if verb == "create"
    }


def test_a_namespace_of_its_own_that_stays_is_left(world: World) -> None:
    keeps = "tests: [{name: t, namespace: {name: mine}, steps: [{sleep: 1ms}]}]\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("koalesce.engine.namespaces.remove_namespace", lambda *_: None)
        events = world.run(SHARED + keeps)

    (end,) = [event for event in events if isinstance(event, SpecFinished)]
    assert (end.status, "namespaces/mine is still there" in end.message) == ("failed", True)


def test_a_spec_that_is_cut_off_leaves_its_cluster_to_nobody(world: World) -> None:
    cut = "timeout: 1500ms\n" + SHARED + "tests: [{name: t, steps: [{sleep: 60s}]}]\n"

    events = world.run(cut, SHARED + TEST)

    assert ends(events) == [("a", "error"), ("b", "passed")]
    assert [each.split()[0] for each in world.done] == ["make", "note", "down", "make", "note", "look", "down"]


def test_a_cluster_that_can_not_be_made_is_tried_again_for_the_next(world: World) -> None:
    world.refused = {"a"}

    assert ends(world.run(SHARED + TEST, SHARED + TEST)) == [("a", "error"), ("b", "passed")]


def test_kept_are_shared_ones_as_well(world: World) -> None:
    events = world.run(SHARED + TEST, SHARED + TEST, keep=True)

    assert world.kept == {world.of("a")}
    assert [event.kept for event in events if isinstance(event, TeardownFinished)] == [True]


def test_a_shared_one_that_can_not_be_removed_is_told(world: World) -> None:
    original = world.provision

    def stubborn(*args: Any, **more: Any) -> Stage:
        stage = original(*args, **more)
        world.stubborn.add(stage.cluster.name)
        return stage

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("koalesce.engine.spec_run.provision", stubborn)
        assert last(world.run(SHARED + TEST, SHARED + TEST)).teardown_failed


def test_those_that_need_others_share_nothing(world: World) -> None:
    events = world.run(SHARED + TEST, SHARED.replace("1", "2") + TEST, "cluster: {nodes: 1}\n" + TEST, SHARED + TEST)

    assert [each for each in world.done if each.startswith("make")] == ["make a", "make b", "make c"]
    assert ends(events)[-1] == ("d", "passed")
    assert not world.up


def manifest(world: World, name: str, text: str) -> None:
    path = world.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {text}}}}}")


COMPONENT = "components: [{name: c, manifests: [%s]%s}]\n"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (SHARED, SHARED, True),
        (SHARED, "cluster: {nodes: {workers: 0}, shared: true, pool: {size: 2}, network: bridge}\n", True),
        (SHARED, SHARED.replace("nodes: 1", "nodes: 1, featureGates: {A: true}"), False),
        (SHARED, SHARED.replace("nodes: 1", "nodes: 1, ttl: 1h"), False),
        (SHARED, SHARED + "fixtures: {c1: {host: {}}}\n", False),
        (SHARED, SHARED + COMPONENT % ("x/one.yaml", ""), False),
        (SHARED + COMPONENT % ("x/one.yaml", ""), SHARED + COMPONENT % ("y/same.yaml", ""), True),
        (SHARED + COMPONENT % ("x/one.yaml", ""), SHARED + COMPONENT % ("x/other.yaml", ""), False),
        (SHARED + COMPONENT % ("x/one.yaml", ""), SHARED + COMPONENT % ("x/one.yaml", ", namespace: default"), False),
        (SHARED + COMPONENT % ("x/one.yaml", ""), "vars: {a: 1}\n" + SHARED + COMPONENT % ("x/one.yaml", ""), True),
        (
            "vars: {a: 1}\n" + SHARED + COMPONENT % ("x/one.yaml", ", expressions: true"),
            "vars: {a: 2}\n" + SHARED + COMPONENT % ("x/one.yaml", ", expressions: true"),
            False,
        ),
        (
            SHARED + COMPONENT % ("x/one.yaml", ", ready: [{assert: {resource: nodes, count: 1}}]"),
            SHARED + COMPONENT % ("x/one.yaml", ", ready: [{assert: {resource: nodes, count: 2}}]"),
            False,
        ),
    ],
)
def test_equal_needs_are_the_same_text(world: World, one: str, other: str, alike: bool) -> None:
    for name, text in (("x/one.yaml", "a"), ("y/same.yaml", "a"), ("x/other.yaml", "b")):
        manifest(world, name, text)
    paths = [Path(path) for path in world.specs(one + TEST, other + TEST)]

    first, second = (plan(loaded, RunOptions()).needs for loaded in load_all(paths, root=world.root))

    assert first
    assert (first == second) is alike


def test_on_a_cluster_that_is_up_there_is_nothing_to_plan(world: World) -> None:
    (loaded,) = load_all(
        [Path(path) for path in world.specs("cluster: {shared: true, pool: {size: 1}}\n" + TEST)], root=world.root
    )

    assert (plan(loaded, RunOptions(cluster="dev")).needs, plan(loaded, RunOptions(cluster="dev")).ahead) == ("", 0)


def waits_for(world: World, cluster: str) -> str:
    """A spec whose test lasts until a cluster is up, or a while."""
    flag = world.root / cluster
    return f"tests: [{{name: t, steps: [{{script: 'for i in $(seq 600); do test -e {flag} && exit 0; sleep 0.1; done; exit 1'}}]}}]\n"


def flagging(world: World) -> Callable[..., Stage]:
    """Makes clusters, and a file for each."""

    def make(session: RunSession, loaded: LoadedSpec, *args: Any, **more: Any) -> Stage:
        stage = World.provision(world, session, loaded, *args, **more)
        (world.root / loaded.path.stem).touch()
        return stage

    return make


def test_the_next_cluster_is_made_while_tests_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))

    events = world.run(waits_for(world, "b"), AHEAD + waits_for(world, "c"), AHEAD + TEST)

    assert ends(events) == [("a", "passed"), ("b", "passed"), ("c", "passed")]
    assert world.most == 2
    assert not world.up
    assert len([each for each in world.done if each.startswith("down")]) == 3


def test_a_pool_makes_no_more_than_its_size_ahead(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))
    two = AHEAD.replace("size: 1", "size: 2")

    world.run(waits_for(world, "c"), two + TEST, two + TEST, two + TEST, two + TEST)

    assert world.most == 3
    assert not world.up


def test_cells_of_a_matrix_are_specs_of_a_pool(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))
    matrix = "matrix: {size: [1, 2]}\ncluster: {nodes: '${{ matrix.size }}', pool: {size: 1}}\n"

    events = world.run(matrix + TEST)

    assert last(events).passed == 2
    assert len([each for each in world.done if each == "make a"]) == 2


def test_what_goes_wrong_ahead_is_told_when_its_turn_comes(world: World) -> None:
    world.refused = {"b"}

    events = world.run(TEST, AHEAD + TEST, TEST)

    assert ends(events) == [("a", "passed"), ("b", "error"), ("c", "passed")]
    assert [e.message for e in events if isinstance(e, SpecFinished)][1] == "no disk"


def test_specs_of_one_name_have_clusters_of_different_names(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))
    first, second = (Path(path) for path in world.specs(waits_for(world, "b"), AHEAD + TEST))
    second.write_text(second.read_text().replace("name: b}", "name: a}"))

    events = list(engine.run(RunOptions(paths=(str(first), str(second)), trust=True)))

    assert last(events).passed == 2
    assert len(world.kubes) == 2


def test_an_interrupted_run_leaves_nothing_that_was_made_ahead(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))
    cancel = threading.Event()
    until_made = f"tests: [{{name: t, steps: [{{script: 'for i in $(seq 600); do test -e {world.root}/b && exit 0; sleep 0.1; done'}}, {{sleep: 60s}}]}}]\n"

    def stop() -> None:
        deadline = time.monotonic() + 60
        while not (world.root / "b").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        cancel.set()

    threading.Thread(target=stop).start()
    events = world.run(until_made, AHEAD + TEST, TEST, cancel=cancel)

    assert not world.up
    assert [event.spec[0] for event in events if isinstance(event, SpecStarted)] == ["a", "b"]
    assert {event.spec[0]: event.status for event in events if isinstance(event, TestFinished)} == {
        "a": "error",
        "b": "skipped",
    }
    assert last(events).interrupted


def test_an_interrupted_run_ends_what_is_being_made_ahead(world: World) -> None:
    world.hang = {"b"}
    cancel = threading.Event()

    def stop() -> None:
        deadline = time.monotonic() + 60
        while "b" not in world.begun and time.monotonic() < deadline:
            time.sleep(0.05)
        cancel.set()

    threading.Thread(target=stop).start()
    events = world.run("tests: [{name: t, steps: [{sleep: 60s}]}]\n", AHEAD + TEST, cancel=cancel)

    assert not world.up
    assert last(events).interrupted


def test_a_bug_leaves_nothing_that_was_made_ahead(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))

    def broken(*_args: Any, **_more: Any) -> None:
        deadline = time.monotonic() + 60
        while not (world.root / "c").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        raise RuntimeError("a bug")

    monkeypatch.setattr("koalesce.engine.spec_run.run_test", broken)
    shared = "cluster: {shared: true, nodes: 2}\n"
    with pytest.raises(RuntimeError, match="a bug"):
        world.run(
            shared.replace("2", "3") + "tests: []\n", shared + TEST, AHEAD + TEST, shared.replace("2", "3") + TEST
        )

    assert not world.up


def test_shared_clusters_are_made_ahead_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))
    both = "cluster: {nodes: 1, shared: true, pool: {size: 2}}\n"

    events = world.run(waits_for(world, "b"), both + TEST, both + TEST)

    assert ends(events)[-1] == ("c", "passed")
    assert [each for each in world.done if each.startswith("make")] == ["make a", "make b"]
    assert not world.up


SKIPPED = "tests: [{name: t, if: {value: 1, equals: 2}, steps: [{sleep: 1ms}]}]\n"


def test_a_spec_with_nothing_to_run_takes_no_place_in_a_pool(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))

    events = world.run(waits_for(world, "c"), AHEAD + SKIPPED, AHEAD + TEST)

    assert ends(events) == [("a", "passed"), ("b", "skipped"), ("c", "passed")]
    assert [each for each in world.done if each.startswith("make")] == ["make a", "make c"]


def test_a_shared_cluster_does_not_wait_for_specs_with_nothing_to_run(world: World) -> None:
    events = world.run(SHARED + SKIPPED, SHARED + TEST, SHARED + SKIPPED, TEST)

    assert ends(events) == [("a", "skipped"), ("b", "passed"), ("c", "skipped"), ("d", "passed")]
    assert [each.split()[0] for each in world.done] == ["make", "note", "look", "down", "make", "down"]


def test_shared_clusters_are_made_ahead_for_the_first_that_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))
    both = "cluster: {nodes: 1, shared: true, pool: {size: 1}}\n"

    events = world.run(waits_for(world, "c"), both + SKIPPED, both + TEST)

    assert ends(events) == [("a", "passed"), ("b", "skipped"), ("c", "passed")]
    assert [each for each in world.done if each.startswith("make")] == ["make a", "make c"]


def test_specs_run_at_once_on_clusters_of_their_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))

    events = world.run(waits_for(world, "b"), waits_for(world, "a"), TEST, at_once=2)

    assert sorted(ends(events)) == [("a", "passed"), ("b", "passed"), ("c", "passed")]
    assert world.most == 2
    assert not world.up


def test_specs_at_once_share_as_many_clusters_as_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))

    events = world.run(SHARED + waits_for(world, "b"), SHARED + waits_for(world, "a"), *[SHARED + TEST] * 4, at_once=2)

    assert [status for _, status in ends(events)] == ["passed"] * 6
    assert sorted(each for each in world.done if each.startswith("make")) == ["make a", "make b"]
    assert len([each for each in world.done if each.startswith("down")]) == 2
    assert not world.up


def test_specs_at_once_take_what_was_made_ahead(world: World) -> None:
    two = AHEAD.replace("size: 1", "size: 2")

    events = world.run(*[two + TEST] * 8, at_once=3)

    assert [status for _, status in ends(events)] == ["passed"] * 8
    assert len([each for each in world.done if each.startswith("make")]) == 8
    assert world.most <= 5
    assert not world.up


def existing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have specs run as on a cluster that is up."""
    monkeypatch.setattr("koalesce.engine.runner.plan", lambda loaded, options: plan(loaded, RunOptions(cluster="dev")))


@pytest.mark.parametrize("alone", ["serial: true", "disruptive: true", "locks: [l]"])
def test_on_a_cluster_that_exists_some_specs_want_to_be_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, alone: str
) -> None:
    existing(world, monkeypatch)
    lock = world.root / "lock"
    test = f"tests: [{{name: t, {alone}, steps: [{{script: 'mkdir {lock} && sleep 0.2 && rmdir {lock}'}}]}}]\n"

    events = world.run(*[test] * 3, *[TEST] * 3, at_once=3)

    assert [status for _, status in ends(events)] == ["passed"] * 6


def test_on_a_cluster_that_exists_the_others_run_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    existing(world, monkeypatch)
    monkeypatch.setattr("koalesce.engine.spec_run.provision", flagging(world))

    events = world.run(waits_for(world, "b"), waits_for(world, "a"), at_once=2)

    assert [status for _, status in ends(events)] == ["passed"] * 2


def test_a_spec_with_a_setup_wants_an_existing_cluster_for_itself(world: World) -> None:
    setup = "setup: {steps: [{sleep: 1ms}]}\n"
    paths = [Path(path) for path in world.specs(TEST, setup + TEST, "cleanup: [{sleep: 1ms}]\n" + TEST)]

    plans = [plan(loaded, RunOptions(cluster="dev")) for loaded in load_all(paths, root=world.root)]

    assert [each.alone for each in plans] == [False, True, True]


def test_after_a_bug_no_other_begins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any, **_more: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("koalesce.engine.spec_run.run_test", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        world.run(TEST, TEST, TEST)

    assert [each for each in world.done if each.startswith("make")] == ["make a"]
