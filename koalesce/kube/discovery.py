"""Which kinds a cluster serves: aggregated discovery, kept in memory for one cluster and read anew when a kind is missing.

Aggregated discovery (KEP-3352) takes two requests; servers that don't have it are asked group by group.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from koalesce.kube.errors import ApiError, UnknownKind
from koalesce.kube.resource import Resource
from koalesce.patterns import pattern

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
ACCEPT = ",".join([_AGGREGATED.format("v2"), _AGGREGATED.format("v2beta1"), "application/json"])
_VERSION = pattern(r"v\d+((alpha|beta)\d+)?")
_REFRESH = 1.0  # seconds between two readings because of a missing kind,
_REFRESH_EXPECTING = 0.1  # or while one is about to come, for
_EXPECTING = 10.0  # seconds

Fetch = Callable[[str, str], Any]  # path, Accept header -> parsed JSON


class Discovery:
    """The kinds of one cluster, in the server's order of preference."""

    def __init__(self, fetch: Fetch, *, now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._now = now
        self._lock = threading.Lock()
        self._resources: tuple[Resource, ...] = ()
        self._read_at: float | None = None
        self._expecting_until: float | None = None

    def resources(self) -> tuple[Resource, ...]:
        """All kinds, as last read."""
        with self._lock:
            if self._read_at is None:
                self._read()
            return self._resources

    def find(self, name: str) -> Resource:
        """The kind that kubectl would take for this name: plural, singular, kind or short name, with `.group` or `.version.group`."""
        wanted = list(readings(name))
        found = self._search(lambda resources: by_name(resources, wanted))
        if found is None:
            raise UnknownKind(f'the cluster has no kind "{name}"', hint=self._suggestion(name))
        return found

    def find_kind(self, api_version: str, kind: str) -> Resource:
        """The kind of an object that says this apiVersion and kind."""
        found = self._search(
            lambda resources: next((r for r in resources if r.api_version == api_version and r.kind == kind), None)
        )
        if found is None:
            raise UnknownKind(f'the cluster has no kind "{kind}" in {api_version}', hint=self._suggestion(kind))
        return found

    def forget(self) -> None:
        """Read anew on the next question: something that was here is gone."""
        with self._lock:
            self._read_at = None

    def expect(self) -> None:
        """New kinds are about to come (a CustomResourceDefinition was applied): look more often for a while."""
        self._expecting_until = self._now() + _EXPECTING

    def _search(self, look: Callable[[Iterable[Resource]], Resource | None]) -> Resource | None:
        found = look(self.resources())
        if found is not None:
            return found
        with self._lock:
            now = self._now()
            is_expecting = self._expecting_until is not None and now < self._expecting_until
            interval = _REFRESH_EXPECTING if is_expecting else _REFRESH
            if self._read_at is None or now - self._read_at >= interval:
                self._read()
            return look(self._resources)

    def _read(self) -> None:
        resources: list[Resource] = []
        for root in ("/api", "/apis"):
            answer = self._fetch(root, ACCEPT)
            if answer.get("kind") == "APIGroupDiscoveryList":
                resources += _aggregated(answer)
            else:
                resources += self._group_by_group(root, answer)
        self._resources = tuple(resources)
        self._read_at = self._now()

    def _group_by_group(self, root: str, answer: Mapping[str, Any]) -> Iterator[Resource]:
        for group, version in _versions(answer):
            path = f"{root}/{group}/{version}" if group else f"{root}/{version}"
            try:
                listed = self._fetch(path, "application/json")
            except ApiError as error:
                if error.status in (403, 404, 503):  # an extension's server that is down hides its own kinds only
                    continue
                raise
            yield from _listed(group, version, listed)

    def _suggestion(self, name: str) -> str | None:
        names = {word for r in self._resources for word in (r.plural, r.singular, r.kind.lower(), r.name) if word}
        import difflib  # imported here: only mistakes need it

        close = difflib.get_close_matches(name.lower(), sorted(names), n=1, cutoff=0.75)
        return f'did you mean "{close[0]}"?' if close else None


def readings(name: str) -> Iterator[tuple[str, str | None, str | None]]:
    """(word, version, group) as the name may be meant; None is any."""
    word, _, rest = name.lower().partition(".")
    if not rest:
        yield word, None, None
        return
    version, _, group = rest.partition(".")
    if _VERSION.fullmatch(version):
        yield word, version, group
    yield word, None, rest


def by_name(resources: Iterable[Resource], names: Iterable[tuple[str, str | None, str | None]]) -> Resource | None:
    """The first of the kinds that one of these (word, version, group) names; full names before short ones."""
    known = list(resources)
    for word, version, group in names:
        fitting = [r for r in known if group in (None, r.group) and version in (None, r.version)]
        for names_of in (_full_names, _short_names):
            for resource in fitting:
                if word in names_of(resource):
                    return resource
    return None


def _full_names(resource: Resource) -> tuple[str, ...]:
    return resource.plural, resource.singular, resource.kind.lower()


def _short_names(resource: Resource) -> tuple[str, ...]:
    return resource.short_names


def _aggregated(answer: Mapping[str, Any]) -> Iterator[Resource]:
    for group in answer.get("items") or ():
        for version in group.get("versions") or ():
            for entry in version.get("resources") or ():
                kind = (entry.get("responseKind") or {}).get("kind")
                if kind:
                    yield Resource(
                        group=group["metadata"].get("name") or "",
                        version=version["version"],
                        kind=kind,
                        plural=entry["resource"],
                        namespaced=entry.get("scope") == "Namespaced",
                        verbs=frozenset(entry.get("verbs") or ()),
                        singular=entry.get("singularResource") or kind.lower(),
                        short_names=tuple(entry.get("shortNames") or ()),
                    )


def _versions(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Groups and versions of a plain `/api` or `/apis` answer, the preferred version of each group first."""
    for version in answer.get("versions") or ():
        yield "", version
    for group in answer.get("groups") or ():
        preferred = (group.get("preferredVersion") or {}).get("version")
        versions = [entry["version"] for entry in group["versions"]]
        for version in sorted(versions, key=lambda v: v != preferred):
            yield group["name"], version


def _listed(group: str, version: str, listed: Mapping[str, Any]) -> Iterator[Resource]:
    for entry in listed.get("resources") or ():
        if "/" not in entry["name"]:
            yield Resource(
                group=group,
                version=version,
                kind=entry["kind"],
                plural=entry["name"],
                namespaced=bool(entry.get("namespaced")),
                verbs=frozenset(entry.get("verbs") or ()),
                singular=entry.get("singularName") or entry["kind"].lower(),
                short_names=tuple(entry.get("shortNames") or ()),
            )
