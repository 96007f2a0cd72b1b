"""Vantage points: from where a step runs something or looks at the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr, model_validator

from koalesce.errors import UsageError
from koalesce.kube import selector as selectors
from koalesce.models import Model
from koalesce.patterns import pattern

_HERE = pattern(r"\$\{\{\s*(setup\.)?outputs\b|(^|//|\[)(localhost|127\.|::1)")
NodeGroup = Literal["all", "workers", "controlPlane"]


def _selector_text(value: Any) -> Any:
    """A selector as text, also where it was written as a map of labels."""
    if not isinstance(value, Mapping):
        return value
    return ",".join(f"{key}={wanted}" for key, wanted in value.items())


def _readable(selector: str) -> str:
    if "${{" not in selector:
        try:
            selectors.parse(selector)
        except UsageError as error:
            raise ValueError(error.message) from error
    return selector


def _selection(value: Any) -> Any:
    return {"selector": value} if isinstance(value, str) else value


def _host(value: Any) -> Any:
    return True if value in ({}, None) else value


def _owner(text: str) -> str:
    kind, _, name = text.partition("/")
    if "${{" not in text and not (kind and name):
        raise ValueError(f"owner {text} needs a kind and a name, such as deployment/web")
    return text


PROBED = frozenset({"pod-probe", "probe-answers"})
ENTERED = frozenset({"node-exec"})
Owner = Annotated[StrictStr, AfterValidator(_owner)]
Selector = Annotated[StrictStr, BeforeValidator(_selector_text), AfterValidator(_readable)]


def taken(where: Any) -> frozenset[str]:
    """The capabilities that running something there takes, by the fields as they are written; a text with an expression tells nothing."""
    is_node = isinstance(where, Mapping) and any(where.get(name) is not None for name in ("node", "nodes"))
    return ENTERED if is_node else frozenset()


def taken_on_wire(where: Any, target: Any = None, *, pods: frozenset[str] = PROBED) -> frozenset[str]:
    """Those that looking at the network from there takes; `pods` is what it takes from pods: a probe in them, or that they're entered from their nodes.

    From this machine a target (an address or a URL) that is this machine, too, takes nothing, nor does one that a step tells, as port-forwards do.
    """
    if where is None or where == "host" or (isinstance(where, Mapping) and where.get("host") is not None):
        is_here = isinstance(target, str) and _HERE.search(target) is not None
        return frozenset() if is_here else frozenset({"host-exec"})
    is_pod = isinstance(where, Mapping) and any(where.get(name) is not None for name in ("pod", "pods"))
    return pods if is_pod else taken(where)


class PodSelection(Model):
    """Pods by their labels, by what they belong to, or by the component that brought them; a bare selector stands for it."""

    selector: Selector = ""
    """A label selector such as `app=client`, or a map of labels; empty: all pods of the namespace."""

    owner: Owner | None = None
    """What they belong to, directly or through others: `deployment/web`."""

    component: StrictStr | None = None
    """The component of this spec whose workloads they belong to, in whatever namespace."""

    namespace: StrictStr | None = None
    """The namespace to look in; default: the step's, which is the test's own."""

    @model_validator(mode="after")
    def _component_says_it_all(self) -> PodSelection:
        if self.component is not None and (self.selector or self.owner or self.namespace):
            raise ValueError("component stands alone: it says which pods, and where")
        return self

    def __str__(self) -> str:
        if self.component is not None:
            return f"of component {self.component}"
        words = [self.selector] if self.selector else []
        return " ".join([*words, *([f"of {self.owner}"] if self.owner else [])]) or "of the namespace"


Pods = Annotated[PodSelection, BeforeValidator(_selection)]
NodeNames = NodeGroup | Annotated[list[StrictStr], Field(min_length=1)]
FixtureNames = Literal["all"] | Annotated[list[StrictStr], Field(min_length=1)]
Host = Annotated[Literal[True], BeforeValidator(_host)]


class PodsAndNodes(Model):
    """Where to run: exactly one of `pod`, `pods`, `node` and `nodes`."""

    places: ClassVar[tuple[str, ...]] = ("pod", "pods", "node", "nodes")

    pod: StrictStr | None = None
    """A pod by its name."""

    pods: Pods | None = None
    """Pods by a label selector: `{selector: app=client}`; those that have ended or are being deleted don't count."""

    node: StrictStr | None = None
    """A node by its name."""

    nodes: NodeNames | None = None
    """Several nodes: `all`, `workers`, `controlPlane` or a list of names."""

    namespace: StrictStr | None = None
    """The pods' namespace; default: the test's own."""

    container: StrictStr | None = None
    """The pods' container; default: the first, or the one that `kubectl.kubernetes.io/default-container` names."""

    @model_validator(mode="after")
    def _exactly_one_place(self) -> PodsAndNodes:
        given = [name for name in self.places if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"found {' and '.join(given)}" if given else "none is there"
            raise ValueError(f"say exactly one of {', '.join(self.places)}; {found}")
        if given[0] not in ("pod", "pods") and (self.namespace or self.container):
            raise ValueError(f"namespace and container belong to pods, not to {given[0]}")
        return self

    @property
    def is_single(self) -> bool:
        """Whether it can only be one place, so that outputs are no list."""
        return self.pods is None and self.nodes is None

    def place(self) -> str:
        """The vantage point in a few words: `pods app=client`, `node worker-1`."""
        name = next(name for name in self.places if getattr(self, name) is not None)
        value = getattr(self, name)
        match value:
            case PodSelection():
                return f"pods {value}"
            case True:
                return "this machine"
            case list():
                return f"{name} {', '.join(value)}"
            case _:
                return f"{name} {value}"


class Machines(PodsAndNodes):
    """Where to run: exactly one of `pod`, `pods`, `node`, `nodes`, `fixture` and `fixtures`."""

    places: ClassVar[tuple[str, ...]] = (*PodsAndNodes.places, "fixture", "fixtures")

    fixture: StrictStr | None = None
    """A machine outside of the cluster, by its name in the spec's `fixtures`."""

    fixtures: FixtureNames | None = None
    """Several of them: `all` or a list of names."""

    @property
    def is_single(self) -> bool:
        """Whether it can only be one place, so that outputs are no list."""
        return super().is_single and self.fixtures is None


class Vantage(Machines):
    """From where to look: exactly one of `pod`, `pods`, `node`, `nodes`, `fixture`, `fixtures` and `host`; bare `host` is this machine."""

    places: ClassVar[tuple[str, ...]] = (*Machines.places, "host")

    host: Host | None = None
    """This machine, at a place from which the cluster's addresses can be reached: `{host: true}`."""

    @model_validator(mode="before")
    @classmethod
    def _bare_host(cls, value: Any) -> Any:
        return {"host": True} if value == "host" else value
