"""What `stability` watches: things that are counted or measured, and how they may move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StrictStr, model_validator

from koalesce.matching.flaws import refuse
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import Mismatch
from koalesce.matching.numbers import NumberMatcher
from koalesce.models import Model
from koalesce.steps.node_state import VIEWS
from koalesce.steps.objects.reference import EVERYWHERE, ResourceRef, check_selector
from koalesce.steps.state.growth import Course
from koalesce.steps.state.items import Part, part_flaws
from koalesce.steps.state.machines import OnMachines
from koalesce.steps.vantage import Machines, Selector

Kind = Literal[
    "addresses", "chains", "connections", "ipsets", "iptables", "ipvs", "links", "listeners", "mounts", "neighbours", "nftables",
    "processes", "routes", "rules",
]  # fmt: skip
_KINDS = ("objects", "state", "memory", "threads", "open_files")
_NO_GROWTH = Matcher.model_validate({"le": 0})


class Objects(Model):
    """Objects of a kind, which are counted."""

    resource: ResourceRef
    """Their kind, as kubectl takes it."""
    namespace: StrictStr | None = None
    """Where, if not in the test's namespace; `"*"` is all namespaces."""
    selector: Selector | None = None
    """Only those with these labels."""

    @model_validator(mode="after")
    def _is_a_kind(self) -> Objects:
        if self.resource.name:
            raise ValueError(f"{self.resource} is one object; say a kind, whose objects are counted")
        check_selector(self.selector or "")
        return self

    def __str__(self) -> str:
        words = [str(self.resource), *([f"with {self.selector}"] if self.selector else [])]
        return " ".join([*words, *([f"in {self.namespace}"] if self.namespace not in (None, EVERYWHERE) else [])])


class State(OnMachines):
    """What a kernel holds, which is counted on each of the machines."""

    kind: Kind
    """What, as in `node-state`: `chains`, `ipsets`, `connections` …"""
    where: Part | None = Field(default=None, min_length=1)
    """Only items that match this, as in `node-state`."""

    @model_validator(mode="after")
    def _check_form(self) -> State:
        if len(self.places) != 1:
            found = " and ".join(self.places) or "none"
            raise ValueError(f"say exactly one of node, nodes, fixture, fixtures; found {found}")
        refuse([flaw.under("where") for flaw in part_flaws(self.where or {}, VIEWS[self.kind])], self)
        return self

    def __str__(self) -> str:
        return self.kind if not self.where else f"{self.kind} where {', '.join(self.where)}"


class OfProcesses(Machines):
    """Processes, of each pod or machine together."""

    process: Annotated[StrictStr, Field(min_length=1)] | None = None
    """The name of the program; default: all processes of the container, or of the machine."""

    def __str__(self) -> str:
        return self.process or "all processes"


class Watched(Model):
    """Something that is counted or measured, and how it may move: exactly one of `objects`, `state`, `memory`, `threads` and `openFiles`."""

    objects: Objects | None = None
    """Objects of a kind: `{resource: endpointslices, selector: app=web}`."""
    state: State | None = None
    """Chains, sets, tracked connections and the like: `{nodes: all, kind: ipsets}`."""
    memory: OfProcesses | None = None
    """Bytes of memory that processes have for themselves (RSS): `{nodes: all, process: kube-router}`, `{pods: {component: web}}`."""
    threads: OfProcesses | None = None
    """Threads of processes."""
    open_files: OfProcesses | None = None
    """Open files of processes, sockets among them."""

    growth: NumberMatcher | None = None
    """By how much it may grow: the median of the last quarter of samples less that of the first. Default for what is counted: `{le: 0}`; of processes it has to be said, `{le: 10Mi}`."""
    highest: NumberMatcher | None = None
    """How high it may be at any time: `{lt: 200Mi}`."""

    @model_validator(mode="after")
    def _check_form(self) -> Watched:
        given = [name for name in _KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(map(_written, given)) or "none"
            raise ValueError(f"say exactly one of {', '.join(map(_written, _KINDS))}; found {found}")
        if given[0] not in ("objects", "state") and self.growth is None and self.highest is None:
            raise ValueError(f"{_written(given[0])} always moves a little: say growth or highest, as in {{le: 10Mi}}")
        return self

    @property
    def kind(self) -> str:
        """What it is, as it is written."""
        return next(_written(name) for name in _KINDS if getattr(self, name) is not None)

    @property
    def processes(self) -> OfProcesses | None:
        """The processes, where it's about such."""
        return self.memory or self.threads or self.open_files

    def __str__(self) -> str:
        return str(self.objects or self.state) if self.processes is None else f"{self.kind} of {self.processes}"

    def misses(self, course: Course) -> Iterator[tuple[str, Mismatch]]:
        """What is wrong with how it has moved."""
        growth = self.growth or (_NO_GROWTH if self.highest is None else None)
        if growth is not None and (miss := growth.check(course.growth)):
            yield "growth", miss
        if self.highest is not None and (miss := self.highest.check(course.highest)):
            yield "highest", miss


def _written(name: str) -> str:
    return "openFiles" if name == "open_files" else name
