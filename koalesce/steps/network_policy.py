"""The step `network-policy`: NetworkPolicies are enforced, all of what they say and no more."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StrictStr, model_validator

from koalesce.addresses import Family, family_of
from koalesce.durations import Duration
from koalesce.netpol import generated, upstream
from koalesce.netpol.cases import Case, tagged
from koalesce.netpol.grid import Grid
from koalesce.netpol.policy import Protocol
from koalesce.steps.base import Course, Ended, Errored, Files, Outcome, Passed, Stage, StepContext
from koalesce.steps.policies.ground import Ground
from koalesce.steps.policies.looking import Look, as_simulated
from koalesce.steps.policies.results import Results
from koalesce.steps.policies.stages import MakeChange, MakeGrid
from koalesce.steps.policies.written import Name, WrittenChange
from koalesce.suggestions import closest

IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"
Blocked = Literal["refused", "rejected", "dropped"]
_UPSTREAM = Grid()


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _unique(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("says something twice")
    return values


Names = Annotated[list[Name], Field(min_length=1), AfterValidator(_unique)]
_Port = Annotated[StrictInt, Field(ge=1, le=65535)]


class NetworkPolicyStep(Course, key="network-policy"):
    """Try NetworkPolicies on a grid of pods: make a change, and see that the network does what the policies say, for every pair of pods.

    The grid is made by the step, in namespaces of the test's own: pods of the same names in each namespace, spread over the nodes, each of
    which serves all `ports`. A namespace has the label `ns`, a pod the label `pod`, with its own name as value; ports are named as in
    `serve-80-tcp`, and `main` is the first port, of the last pod of each namespace the last one. First everything must reach everything. Then
    the changes are made one after the other, and after each of them every pod tries every port of every pod, until what is seen is what is
    expected: by default what a simulator of the NetworkPolicy API says. Nodes try the pods that run on them, which no policy may keep them
    from; so a pod's silence is never taken for a policy.

    `timeout`, `within` and `stableFor` hold for each change by itself; for the start of the grid `startTimeout` does. The time from a change until it's in effect is measured: it's the time
    until the end of the first look that sees it, and `outputs` read it from `latency` (`p50`, `p95` and `max`, in seconds) and `cases`.

    Policies name the namespaces as the grid does, in `metadata.namespace` and in selectors by `kubernetes.io/metadata.name`. In `ipBlock`, `x/a`
    is the address of that pod, and `x/a/24` the network of that length around it.
    """

    namespaces: Names = Field(default_factory=lambda: list(_UPSTREAM.namespaces))
    """The grid's namespaces; default: x, y and z. In the cluster they are called otherwise, since many tests may have such."""

    pods: Names = Field(default_factory=lambda: list(_UPSTREAM.pods))
    """The pods of each namespace; default: a, b and c."""

    ports: Annotated[list[_Port], Field(min_length=1), AfterValidator(_unique)] = Field(
        default_factory=lambda: list(_UPSTREAM.ports)
    )
    """What each of them serves; default: 80 and 81."""

    protocols: Annotated[list[Protocol], Field(min_length=1), AfterValidator(_unique)] = Field(
        default_factory=lambda: list[Protocol](["TCP"])
    )
    """By which protocols: TCP, UDP and SCTP, which takes the capability `sctp`; default: TCP."""

    ip_families: Annotated[list[Family], Field(min_length=1), AfterValidator(_unique)] | None = None
    """Addresses of which families are tried; default: of all that pods of the cluster have."""

    changes: list[WrittenChange] = Field(default_factory=list)
    """What is changed, in order."""

    suite: Literal["upstream", "generated"] | None = None
    """Cases instead of own changes: `upstream` has those that Kubernetes' own tests of NetworkPolicies are about, `generated` makes policies by
    chance. Each case begins without policies of the others; one that fails doesn't keep the next ones from being tried."""

    tags: list[StrictStr] = Field(default_factory=list)
    """The cases of the suite that have one of these tags, such as `egress`; those with a `-` before it, as in `-ipblock`, leave out what has it."""

    only: list[StrictStr] = Field(default_factory=list)
    """The cases of the suite of these names, as reports call them."""

    seed: StrictInt = 1
    """What makes the cases of `generated`: the same ones for the same seed."""

    count: Annotated[StrictInt, Field(ge=1, le=2000)] = 20
    """How many cases `generated` makes, before `tags` and `only` choose of them."""

    stop_after: Annotated[StrictInt, Field(ge=1)] = 5
    """After how many failed cases of the suite the rest is left out."""

    blocked: Annotated[
        list[Blocked],
        BeforeValidator(_as_list, json_schema_input_type=Blocked | list[Blocked]),
        Field(min_length=1),
    ] = Field(default_factory=lambda: list[Blocked](["rejected", "dropped"]))
    """How a connection may look that isn't let through; default: `rejected` or `dropped`. `refused` has to be said where the network answers in
    the name of the pod."""

    max_time: Duration = Duration(1.5)
    """How long one try may take; `dropped` takes all of it."""

    start_timeout: Duration = Duration(120)
    """How long the grid may take to come up, until everything reaches everything."""

    image: StrictStr = IMAGE
    """What the pods run: an image with `/bin/sh` and `/agnhost`."""

    @model_validator(mode="after")
    def _fits_together(self) -> NetworkPolicyStep:
        if (self.suite is None) == (not self.changes):
            raise ValueError("say exactly one of changes and suite")
        chosen = {"tags", "only", "stop_after"} | ({"seed", "count"} if self.suite != "generated" else set())
        of_suite = chosen if self.suite is None else chosen - {"tags", "only", "stop_after"}
        if extra := sorted(of_suite & self.model_fields_set):
            said = {"stop_after": "stopAfter"}.get(extra[0], extra[0])
            raise ValueError(f"{said} is about {'suite: generated' if extra[0] in ('seed', 'count') else 'a suite'}")
        if self.suite == "upstream" and {"namespaces", "pods", "ports"} & self.model_fields_set:
            raise ValueError(
                "the cases of upstream are for the grid as it is by default: leave out namespaces, pods and ports"
            )
        for name, duration in (("maxTime", self.max_time), ("startTimeout", self.start_timeout)):
            if duration.seconds <= 0:
                raise ValueError(f"{name} must be more than 0")
        return self

    @property
    def grid(self) -> Grid:
        """The grid that is made."""
        return Grid(
            namespaces=tuple(self.namespaces), pods=tuple(self.pods), ports=tuple(self.ports), protocols=tuple(self.protocols)
        )  # fmt: skip

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """The grid's pods are entered from their nodes; and SCTP where that is spoken, which few kernels do."""
        spoken = written.get("protocols")
        return frozenset({"node-exec", *(["sctp"] if isinstance(spoken, list) and "SCTP" in spoken else [])})

    def title(self) -> str:
        """Which policies, on how large a grid."""
        if self.suite is None:
            count = len(self.changes)
            what = f"{count} change" + ("s" if count != 1 else "")
        else:
            what = f"{self.suite} cases" + (f" {', '.join(self.only or self.tags)}" if self.only or self.tags else "")
        return f"network-policy: {what} on {len(self.namespaces)}×{len(self.pods)} pods"  # noqa: RUF001  # as one writes it

    def static_problems(self, files: Files) -> list[str]:
        """Policies that can't be ones, names that aren't in the grid, cases that there aren't."""
        if self.suite is not None:
            return list(self._suite_problems())
        return [
            f"changes[{index}]: {problem}"
            for index, change in enumerate(self.changes)
            for problem in change.problems(self.grid, files)
        ]

    def stages(self, context: StepContext) -> Generator[Stage, Ended, Outcome]:
        """The grid first, then the changes of one case after the other."""
        nodes = [node for node in context.cluster.present if node.exec]
        if not nodes:
            return Errored("the cluster gives no way to run commands on its nodes", final=True)
        families = self.ip_families or [family_of(each) for each in context.cluster.pod_cidrs]
        ground = Ground.named(self.grid, context.namespace, nodes, families, self.image)
        ended = yield MakeGrid(ground, self._look(ground, None), timeout=self.start_timeout)
        if not isinstance(ended.outcome, Passed):
            return ended.outcome
        cases = self._cases(context)
        results = Results(len(cases))
        for case in cases:
            results.begin(case)
            for index, change in enumerate(case.changes):
                title = f"{case.name}: {change.title}" if case.name else change.title
                written = None if self.suite else self.changes[index]
                whole = change if index else ground.anew(change)
                ended = yield MakeChange(ground, whole, self._look(ground, written), title)
                if isinstance(ended.outcome, Errored):
                    return replace(ended.outcome, message=f"{title}: {ended.outcome.message}")
                results.note(title, change, ended, list(ground.policies.values()))
                if not isinstance(ended.outcome, Passed):
                    break
            if results.failures >= self.stop_after:
                break
        return results.outcome()

    def _look(self, ground: Ground, written: WrittenChange | None) -> Look:
        expect = as_simulated if written is None or written.expect is None else written.expect.of
        return Look(ground=ground, blocked=tuple(self.blocked), limit=self.max_time.seconds, expect=expect)

    def _cases(self, context: StepContext) -> list[Case]:
        if self.suite is None:
            return [Case(name="", changes=[change.read(self.grid, context) for change in self.changes])]
        return self._chosen()

    def _chosen(self) -> list[Case]:
        """The cases of the suite that are asked for."""
        chosen = tagged(self._suite(), self.tags)
        return [case for case in chosen if not self.only or case.name in self.only]

    def _suite(self) -> Sequence[Case]:
        if self.suite == "upstream":
            return upstream.cases()
        return list(generated.cases(self.grid, seed=self.seed, count=self.count))

    def _suite_problems(self) -> Iterator[str]:
        if not self.tags and not self.only:
            return
        known = set(generated.TAGS if self.suite == "generated" else upstream.tags(upstream.cases()))
        for tag in (each.removeprefix("-") for each in self.tags):
            if "${{" not in tag and tag not in known:
                yield f"tags: there are no cases with {tag}; there are {', '.join(sorted(known))}{_meant(tag, known)}"
                return
        names = {case.name for case in self._suite()}
        for name in self.only:
            if "${{" not in name and name not in names:
                yield f"only: there is no case {name}{_meant(name, names)}"
                return
        if not self._chosen() and not any("${{" in each for each in (*self.tags, *self.only)):
            yield "tags and only leave no case"


def _meant(word: str, known: set[str]) -> str:
    meant = closest(word, known)
    return f'\n  hint: did you mean "{meant}"?' if meant else ""
