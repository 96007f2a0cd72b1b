"""A spec as its author wrote it, once it's valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from koalesce.spec.cluster import ClusterSpec
from koalesce.spec.common import Flag, Identifier, KnownCapability, Model, Name, ObjectName, PositiveDuration, Text
from koalesce.spec.components import Component
from koalesce.spec.conditions import Condition
from koalesce.spec.entries import StepEntry
from koalesce.spec.machines import Fixture
from koalesce.spec.namespaces import NamespaceSpec

API_VERSION = "koalesce.dev/v1alpha1"


class Metadata(Model):
    """What the spec is called."""

    name: ObjectName
    """Its name: its clusters and its folder of artifacts are called so. Specs of a run may have one name: they get numbers there, and all that is told of them names their files."""

    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels to select specs by."""

    description: str = ""
    """What it's about."""


Axis = tuple[Any, ...] | Text
Reruns = Annotated[int, Field(strict=True, ge=0, le=10)]


class Setup(Model):
    """What happens once, before all tests; its outputs and its namespace are theirs to use."""

    steps: tuple[StepEntry, ...] = ()
    """The steps, in order."""

    on_failure: tuple[StepEntry, ...] = ()
    """Steps to run when it fails, for evidence."""

    timeout: PositiveDuration | None = None
    """By when it must be done."""

    namespace: NamespaceSpec = Field(default_factory=NamespaceSpec)
    """Its namespace, which stays until the tests are over."""

    cluster: Text | None = None
    """The cluster that it's for, where the spec has several; the first unless given."""


class Test(Model):
    """Named, ordered steps in a namespace of their own."""

    __test__ = False  # no test class of pytest's

    name: Name
    """What must hold, in words; no other test of the spec has it."""

    description: str = ""
    """More about it."""

    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels to select tests by."""

    condition: Condition | None = Field(default=None, alias="if")
    """When it runs; it's skipped otherwise."""

    requires: tuple[KnownCapability, ...] = ()
    """Capabilities without which it's skipped."""

    skip: Text | None = None
    """Why it isn't run at the moment."""

    vars: Mapping[Identifier, Any] = Field(default_factory=dict)
    """Variables of its own; they win over the spec's."""

    namespace: NamespaceSpec = Field(default_factory=NamespaceSpec)
    """Its namespace."""

    namespaces: Mapping[Identifier, NamespaceSpec] = Field(default_factory=dict)
    """More namespaces, made before its first step and removed with it: `${{ namespaces.NAME }}` is what each is called."""

    cluster: Text | None = None
    """The cluster that it's for, where the spec has several; the first unless given."""

    serial: Flag = False
    """Run it alone."""

    disruptive: Flag = False
    """It disturbs others: alone in the cluster, and allowed to do so."""

    locks: tuple[Text, ...] = ()
    """Names of things that only one test at a time may use; tests without the same lock run beside it."""

    timeout: PositiveDuration | None = None
    """By when all of its steps must be done; its cleanup has time of its own."""

    reruns: Reruns | None = None
    """How often it's run again, in a fresh namespace, when it fails (not: when it can't be found out). One that passes then has passed,
    and is reported as flaky everywhere. Default: none, or what `--reruns` says."""

    invariants: Flag = True
    """Whether the spec's `invariants` are looked at after it."""

    matrix: Mapping[Identifier, Axis] = Field(default_factory=dict)
    """Axes, each with its values: the test runs once for each combination, as a test of its own, with `${{ matrix.AXIS }}`.
    `exclude` lists combinations to leave out (partly or fully said), `include` more combinations to run."""

    steps: tuple[StepEntry, ...] = Field(min_length=1)
    """The steps, in order."""

    cleanup: tuple[StepEntry, ...] = ()
    """Steps that always run at its end, in their order: also after a failure, when its time is over, and (within ten seconds) when the
    run is interrupted. Each has 60s unless it says `timeout`. Then what its steps did is undone, last first."""

    on_failure: tuple[StepEntry, ...] = ()
    """Steps to run when it fails, besides the evidence that is always collected."""

    @property
    def is_alone(self) -> bool:
        """Whether no other test may run beside it."""
        return self.serial or self.disruptive


class Spec(Model):
    """A spec: which cluster it needs, what to install, and what must hold."""

    api_version: Literal["koalesce.dev/v1alpha1"]
    """The version of the spec language."""

    kind: Literal["Spec"]
    """Always Spec."""

    metadata: Metadata
    """What the spec is called."""

    vars: Mapping[Identifier, Any] = Field(default_factory=dict)
    """Variables, for `${{ vars.NAME }}`."""

    requires: tuple[KnownCapability, ...] = ()
    """Capabilities of the cluster without which the spec is skipped."""

    timeout: PositiveDuration | None = None
    """By when the whole spec must be done."""

    cluster: ClusterSpec = Field(default_factory=ClusterSpec)
    """The cluster."""

    clusters: Mapping[ObjectName, ClusterSpec] = Field(default_factory=dict)
    """Several clusters instead of one, by name, all made at once. `cluster: NAME` on a test, a step, the setup or a component says which
    one it's for; the first is meant where none is named. `${{ clusters.NAME.nodes }}` and the like are their values."""

    matrix: Mapping[Identifier, Axis] = Field(default_factory=dict)
    """Axes, each with its values: the spec runs once for each combination, with a cluster of its own and `${{ matrix.AXIS }}`.
    `exclude` lists combinations to leave out (partly or fully said), `include` more combinations to run."""

    include: tuple[Text, ...] = ()
    """Files with steps for several specs."""

    components: tuple[Component, ...] = ()
    """What to install, before the tests."""

    fixtures: Mapping[ObjectName, Fixture] = Field(default_factory=dict)
    """Machines outside of the cluster, by names that no node has: `{c1: {host: {}}, r1: {router: gobgpd, asn: 64513}}`. They are made with it and end with it; steps
    name them by `fixture` and `fixtures`, expressions have `${{ fixtures.c1.address }}`."""

    setup: Setup = Field(default_factory=Setup)
    """What happens once, before all tests."""

    cleanup: tuple[StepEntry, ...] = ()
    """Steps that always run once, after all tests: also when the setup failed, and (within ten seconds) when the run is interrupted."""

    on_failure: tuple[StepEntry, ...] = ()
    """Steps to run whenever a test or the setup fails, in its namespace and after its own `onFailure`, for evidence."""

    invariants: tuple[StepEntry, ...] = ()
    """Steps that observe, and must hold after every test that has run, whether it passed or failed: no error lines in the logs of what it runs on, no
    restarts, nothing dropped. One that doesn't is a failure of this test (also of those that ran beside it, if it's about something that they share).
    What disturbs the cluster has ended by then; `since: test` says in `logs` and `restarts` that only the test's own time counts. They run in the test's
    namespace, each with 5s unless it says `timeout`. A test that says `invariants: false` goes without."""

    tests: tuple[Test, ...] = ()
    """The tests."""

    @property
    def cluster_specs(self) -> Mapping[str, ClusterSpec]:
        """The clusters by name, the default first; one that is the only one has the name ""."""
        return self.clusters or {"": self.cluster}
