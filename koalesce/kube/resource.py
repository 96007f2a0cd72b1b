"""A kind of object as the API server serves it, and the paths of its objects."""

from __future__ import annotations

from urllib.parse import quote

from koalesce.records import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One version of a kind. `group` is empty for the core group; `plural` is its name in paths."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()
    singular: str = ""
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """What objects of it say as `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """Plural and group, as kubectl prints it: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The path of one object, or of all in a namespace, or (no namespace) of all; a namespace is ignored where none is due."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        path = "/" + "/".join(quote(part, safe="") for part in parts)
        return f"{path}/{subresource}" if subresource else path

    def __str__(self) -> str:
        return self.name


PODS = Resource("", "v1", "Pod", "pods", namespaced=True, singular="pod", short_names=("po",))
