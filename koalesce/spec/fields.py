"""What any step may say beside its type: name, time, conditions, outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from koalesce.expressions import cel, has_expression
from koalesce.matching.matcher import Matcher
from koalesce.matching.regex import LONGEST_TEXT, compile_regex
from koalesce.patterns import pattern
from koalesce.spec.common import Capability, Flag, Identifier, Model, Name, PositiveDuration, Text
from koalesce.spec.conditions import Condition
from koalesce.steps.vantage import NodeNames, PodSelection

EXCLUSIVE_MODES = ("stableFor", "consistently", "never")


class Retry(Model):
    """How often something that can't be watched is looked at again."""

    every: PositiveDuration | None = None
    """The time between two looks."""

    backoff: float | None = Field(default=None, ge=1)
    """By what the time between looks grows each time."""

    max: PositiveDuration | None = None
    """The longest time between two looks."""

    attempts: Annotated[int, Field(ge=1, strict=True)] | None = None
    """The most looks there are."""


def _readable_jsonpath(text: str) -> str:
    from koalesce.matching.jsonpath import compile_path  # imported here: only outputs by jsonpath need the parser

    if not has_expression(text):
        compile_path(text)
    return text


def _readable_regex(text: str) -> str:
    if not has_expression(text):
        compile_regex(text)
    return text


def _readable_cel(text: str) -> str:
    if not has_expression(text):
        cel.compiled(text, ("self",))
    return text


class Output(Model):
    """A value kept from what the step saw, for later steps: `${{ outputs.NAME }}`."""

    jsonpath: Annotated[Text, AfterValidator(_readable_jsonpath)] | None = None
    """A path as kubectl takes it; several hits, or a path that may have several, give a list."""

    regex: Annotated[Text, AfterValidator(_readable_regex)] | None = None
    """A regular expression, looked for in what was printed; the first group, or all that fits."""

    cel: Annotated[Text, AfterValidator(_readable_cel)] | None = None
    """An expression of CEL with what the step saw as `self`: `size(self.items)`; needs the extra `koalesce[cel]`."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Output:
        if sum(said is not None for said in (self.jsonpath, self.regex, self.cel)) != 1:
            raise ValueError("say exactly one of jsonpath, regex and cel")
        return self

    def read(self, value: Any) -> Any:
        """The output of a value that a step saw; ValueError if nothing is there."""
        if self.cel is not None:
            return _by_cel(self.cel, value)
        return _by_jsonpath(self.jsonpath, value) if self.jsonpath is not None else _by_regex(self.regex or "", value)


_MAY_BE_MANY = pattern(r"\*|\.\.|\?\(|\[[^\]'\"]*[:,][^\]'\"]*\]")


def _by_jsonpath(path: str, value: Any) -> Any:
    from koalesce.matching.jsonpath import compile_path

    found = compile_path(path).find(value)
    if not found:
        raise ValueError(f"jsonpath {path} hit nothing")
    return found[0] if len(found) == 1 and not _MAY_BE_MANY.search(path) else found


def _by_cel(text: str, value: Any) -> Any:
    try:
        return cel.compiled(text, ("self",)).evaluate({"self": value})
    except cel.CelFailed as error:
        raise ValueError(f"cel {text}: {error}") from error


def _by_regex(regex: str, value: Any) -> str:
    match = compile_regex(regex).search(_printed(value)[:LONGEST_TEXT])
    if match is None:
        raise ValueError(f"regex {regex} hit nothing")
    return (match[1] or "") if match.re.groups else match[0]


def _printed(value: Any) -> str:
    """What a regular expression looks at: standard output or a body where there is one, otherwise the value as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        for field in ("stdout", "body"):
            if isinstance(value.get(field), str):
                return str(value[field])
    return json.dumps(value, ensure_ascii=False)


class Places(Model):
    """Pods or nodes of the cluster, as they are when the step begins."""

    pods: PodSelection | None = None
    """Pods that haven't ended, by name; each is a map of `name`, `namespace`, `node`, `ip`, `ips`, `labels` and `annotations`."""

    nodes: NodeNames | None = None
    """`all`, `workers`, `controlPlane`, or a list of names; each is as in `${{ nodes }}`."""

    @model_validator(mode="after")
    def _one_kind(self) -> Places:
        if (self.pods is None) == (self.nodes is None):
            raise ValueError("say exactly one of pods and nodes")
        return self


class Foreach(Model):
    """The step for each item of a list."""

    item: Identifier
    """The name of the item in expressions: `${{ n.name }}` for `item: n`."""

    in_: list[Any] | Places | Text = Field(alias="in")
    """A list, an expression that gives one, `{pods: {selector: app=web}}`, or `{nodes: workers}`; none at all is a failure."""

    @model_validator(mode="after")
    def _has_items(self) -> Foreach:
        if isinstance(self.in_, str) and not has_expression(self.in_):
            raise ValueError('"in" takes a list, or an expression that gives one')
        return self


class ExpectedFailure(Model):
    """How the server's refusal must look."""

    message: Matcher | None = None
    """A text that must be the message, or a matcher (contains, matches …)."""

    code: Annotated[int, Field(strict=True, ge=100, le=599)] | None = None
    """The HTTP status."""

    reason: Text | None = None
    """The reason, as Kubernetes words it: Invalid, Forbidden, AlreadyExists …"""

    @model_validator(mode="after")
    def _says_something(self) -> ExpectedFailure:
        if self.message is None and self.code is None and self.reason is None:
            raise ValueError("says nothing; give message, code or reason, or write true")
        return self

    @property
    def takes_any(self) -> bool:
        """Whether it says at most what the refusal isn't."""
        return self.code is None and self.reason is None and (self.message is None or self.message.only_denies)


class StepFields(Model):
    """The fields that any step may have beside its type."""

    name: Name | None = None
    """What the step is called in reports."""

    cluster: Text | None = None
    """The cluster that it's for, where the spec has several."""

    condition: Condition | None = Field(default=None, alias="if")
    """When it runs; it's left out otherwise."""

    foreach: Foreach | None = None
    """Run it for each item of a list."""

    requires: tuple[Capability, ...] = ()
    """Capabilities without which it's left out."""

    with_: Mapping[Identifier, Any] = Field(default_factory=dict, alias="with")
    """Values for the parameters of a group (beside `use`)."""

    timeout: PositiveDuration | None = None
    """By when it must hold, or be done."""

    retry: Retry | None = None
    """How often it's tried again where nothing can be watched."""

    within: PositiveDuration | None = None
    """The time in which it must first hold; more is a failure though it holds in the end."""

    outputs: Mapping[Identifier, Output] = Field(default_factory=dict)
    """Values to keep for later steps."""

    continue_on_failure: Flag = False
    """Go on with the test when it fails (which fails the test all the same)."""

    may_not_exist: Flag = False
    """What it's about may be missing from the start."""

    patient: Flag = False
    """Wait until the deadline even when it can no longer hold."""

    stable_for: PositiveDuration | None = None
    """It must hold this long without a break after it first held."""

    consistently: PositiveDuration | None = None
    """It must hold from now on for this long."""

    never: PositiveDuration | None = None
    """It must not hold at any look for this long."""

    expect_failure: Flag | ExpectedFailure = False
    """The action must be refused: `true` for what it asks for (it's invalid, forbidden, denied by a policy, in conflict …), or a map of `message`, `code`
    and `reason` for a refusal that is like this. That there is no such kind, namespace or object is no refusal that `true` takes, as a slip of the
    pen would do for it, nor one that a mere `notContains` takes: write `{reason: NotFound}` (`UnknownKind` for kinds)."""


COMMON_NAMES = frozenset(field.alias or name for name, field in StepFields.model_fields.items())
