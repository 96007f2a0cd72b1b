"""Changes of policies and labels as authors write them, with what they expect of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StrictStr, StringConstraints, model_validator

from koalesce.errors import UsageError
from koalesce.models import Model
from koalesce.netpol.cases import Change, named
from koalesce.netpol.grid import Grid, addressed
from koalesce.netpol.policy import Protocol, parse
from koalesce.netpol.simulator import Decision, Flow, Pod
from koalesce.steps.base import Files, StepContext
from koalesce.steps.objects.marking import check_keys, check_values
from koalesce.steps.objects.sources import ObjectSources
from koalesce.yaml import InvalidDocument, load_manifests

# A part of the names of namespaces, and the names of pods.
Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$")]
_Labels = Annotated[Mapping[StrictStr, StrictStr | None], AfterValidator(check_keys), AfterValidator(check_values)]
Verdict = Literal["allowed", "blocked"]


def _as_default(value: Any) -> Any:
    return {"default": value} if isinstance(value, str) else value


def _policies(value: Any) -> Any:
    """A file, or several, or the policies themselves."""
    if isinstance(value, str):
        return {"files": [value]}
    if isinstance(value, list):
        return {"files" if value and all(isinstance(each, str) for each in value) else "objects": value}
    return value


class PolicySources(ObjectSources):
    """NetworkPolicies, in the spec or in files."""

    @model_validator(mode="after")
    def _says_something(self) -> PolicySources:
        if not self.has_sources:
            raise ValueError("apply needs policies: at least one of object, objects, file and files")
        return self


class Pairs(Model):
    """What is expected of some pairs."""

    from_: StrictStr | None = Field(default=None, alias="from")
    """The sources meant, as `x/a`, where `*` and `?` stand for any characters; default: all."""

    to: StrictStr | None = None
    """The targets meant, in the same way; default: all."""

    port: StrictInt | None = None
    """The port meant; default: all."""

    protocol: Protocol | None = None
    """The protocol meant; default: all."""

    expect: Verdict
    """What must be seen: allowed or blocked."""

    def fits(self, source: str, target: str, port: int, protocol: str) -> bool:
        """Whether it is about a connection."""
        return (
            (self.from_ is None or fnmatchcase(source, self.from_))
            and (self.to is None or fnmatchcase(target, self.to))
            and self.port in (None, port)
            and self.protocol in (None, protocol)
        )

    def __str__(self) -> str:
        ends = (("from", self.from_), ("to", self.to), ("port", self.port), ("protocol", self.protocol))
        return " ".join(f"{name} {value}" for name, value in ends if value is not None) or "of all pairs"


class Table(Model):
    """What is expected, pair by pair: the first rule that fits a pair counts, `default` where none does."""

    default: Verdict
    """What is expected of pairs that no rule is about."""

    cells: list[Pairs] = Field(default_factory=list)
    """Rules about pairs; each must be about at least one. A pod's reaching itself is always expected."""

    def of(self, flow: Flow, decided: Decision) -> Decision:
        """What is expected of a connection, and what the simulator says where that is something else."""
        if not isinstance(flow.source, Pod) or flow.source == flow.target:
            return decided
        ends = str(flow.source), str(flow.target), flow.port, flow.protocol
        wanted = next((rule.expect for rule in self.cells if rule.fits(*ends)), self.default)
        is_allowed = wanted == "allowed"
        if is_allowed == decided.allowed:
            return decided
        return Decision(is_allowed, f"the spec says so; the policies say otherwise: {decided.reason}")

    def problems(self, grid: Grid) -> Iterator[str]:
        """Rules that are about no pair of the grid."""
        places = [str(place) for place in grid.places()]
        for index, rule in enumerate(self.cells):
            if "${{" in str(rule):
                continue
            served = grid.serves()
            if not any(
                rule.fits(source, target, port, protocol)
                for protocol, port in served
                for source in places
                for target in places
                if source != target
            ):
                yield f"expect.cells[{index}]: the rule {rule} is about no pair of the grid"


class WrittenChange(Model):
    """One change: policies that come or are replaced, go, and labels."""

    apply: Annotated[
        PolicySources | None,
        BeforeValidator(_policies, json_schema_input_type=StrictStr | list[StrictStr] | list[dict[str, Any]] | PolicySources),
    ] = None  # fmt: skip
    """Policies: a list of them, a file or several, or a map of `object`, `objects`, `file`, `files` and `expressions`. Each names its namespace."""

    delete: Annotated[list[StrictStr], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = (
        Field(default_factory=list)
    )
    """Policies to remove, as `x/deny`."""

    label: Mapping[StrictStr, _Labels] = Field(default_factory=dict)
    """Labels to set, of pods (`x/a`) and of namespaces (`x`); null removes one."""

    expect: Annotated[
        Table | None,
        BeforeValidator(_as_default, json_schema_input_type=Verdict | Table | None),
    ] = None
    """`allowed`, `blocked`, or `{default, cells: [{from, to, port, protocol, expect}]}`; default: what the policies say."""

    @model_validator(mode="after")
    def _changes_something(self) -> WrittenChange:
        if self.apply is None and not self.delete and not self.label:
            raise ValueError("a change needs at least one of apply, delete and label")
        return self

    def problems(self, grid: Grid, files: Files) -> Iterator[str]:
        """What is wrong with it on a grid, as far as it can be known before it's made."""
        places = [str(place) for place in grid.places()]
        if self.apply is not None:
            yield from self.apply.source_problems(files)
            for policy in _known(self.apply, files):
                if problem := _problem(policy, grid):
                    yield f"apply: {problem}"
        for policy_name in self.delete:
            if "${{" not in policy_name and policy_name.partition("/")[0] not in grid.namespaces:
                yield f"delete: {policy_name} is in no namespace of the grid; write it as {grid.namespaces[0]}/NAME"
        for labelled in self.label:
            if "${{" not in labelled and labelled not in (*places, *grid.namespaces):
                yield f"label: {labelled} is neither a namespace nor a pod of the grid, such as {places[0]}"
        if self.expect is not None:
            yield from self.expect.problems(grid)

    def read(self, grid: Grid, context: StepContext) -> Change:
        """The change, with the policies out of their files; UsageError for one that can't be a policy of the grid."""
        sources = self.apply
        policies = sources.read_objects(replace(context, memory={})) if sources is not None else []
        for policy in policies:
            if problem := _problem(policy, grid):
                raise UsageError(f"apply: {problem}")
        title = ", ".join(
            [
                *([f"apply {', '.join(map(named, policies))}"] if policies else []),
                *([f"delete {', '.join(self.delete)}"] if self.delete else []),
                *([f"label {', '.join(self.label)}"] if self.label else []),
            ]
        )
        return Change(
            title=title, apply=policies, delete=self.delete,
            namespaces={name: labels for name, labels in self.label.items() if "/" not in name},
            pods={name: labels for name, labels in self.label.items() if "/" in name},
        )  # fmt: skip


def _known(sources: PolicySources, files: Files) -> Sequence[Mapping[str, Any]]:
    """The policies that can be read before anything runs."""
    paths = [each for each in sources.sources if isinstance(each, str) and "${{" not in each]
    found = list(sources.inline)
    for path in paths:
        try:
            found += [manifest.object for manifest in load_manifests(files.resolve(path))]
        except (InvalidDocument, UsageError):  # said elsewhere
            continue
    return [] if sources.expressions else found


def _problem(policy: Mapping[str, Any], grid: Grid) -> str:
    """Why an object can't be a policy of the grid; empty if it can, or it isn't known yet."""
    places = {str(place): ["192.0.2.1", "2001:db8::1"] for place in grid.places()}  # any will do
    name = policy["metadata"].get("name")
    namespace = policy["metadata"].get("namespace")
    try:
        parse(addressed(policy, places))
    except ValueError as error:
        return "" if "${{" in str(policy) else f"{name}: {error}"
    if namespace not in grid.namespaces and "${{" not in str(namespace):
        return f"{name}: namespace {namespace or '(none)'} is none of the grid: {', '.join(grid.namespaces)}"
    return ""
