"""The `components` section: what a spec installs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from koalesce.expressions import find_expressions, paths_of
from koalesce.spec.common import Flag, Model, ObjectName, PositiveDuration, Text
from koalesce.spec.entries import StepEntry
from koalesce.steps.objects.json_patch import JsonOperation
from koalesce.steps.objects.manifests import Change
from koalesce.steps.objects.sources import ManifestSource

_OF_CLUSTERS = frozenset({"cluster", "clusters", "components", "fixtures", "nodes"})


class ComponentPatch(Model):
    """A change of the component's objects before they are applied: exactly one of `merge` and `json`."""

    resource: Text = Field(examples=["daemonset/kube-router"])
    """Which objects: KIND or KIND/NAME, as they stand in the manifests."""

    namespace: Text | None = None
    """Only those of this namespace."""

    merge: Mapping[str, Any] | None = None
    """What to merge into them; lists by their keys (strategic merge), null removes. It may name what is known once the cluster is up:
    `--peer-router-ips=${{ fixtures.r1.address }}`."""

    json_: tuple[JsonOperation, ...] | None = Field(default=None, alias="json", min_length=1)
    """Operations of a JSON patch, in order, such as one more argument:
    `{op: add, path: /spec/template/spec/containers/0/args/-, value: --enable-ipv6}`. They may name what `merge` may."""

    @model_validator(mode="after")
    def _exactly_one(self) -> ComponentPatch:
        if (self.merge is None) == (self.json_ is None):
            raise ValueError("say exactly one of merge and json")
        return self

    @property
    def change(self) -> Change:
        """What is merged, or the operations."""
        return self.merge if self.merge is not None else [each.to_json() for each in self.json_ or ()]

    @property
    def waits_for_cluster(self) -> bool:
        """Whether it says something of the cluster, so that the change is made only once that is up."""
        return waits_for_cluster(self.change)


class Component(Model):
    """Something that is installed before the tests."""

    name: ObjectName
    """What it's called; `needs`, `cluster.network` and expressions name it so."""

    needs: tuple[Text, ...] = ()
    """Components that have to be ready first."""

    namespace: ObjectName = "kube-system"
    """For its namespaced objects that name none."""

    cluster: Text | tuple[Text, ...] | None = None
    """The cluster to install it in, or a list of them, where the spec has several; the first unless given."""

    manifests: tuple[ManifestSource, ...] = Field(min_length=1)
    """Files, folders and globs, or other sources of manifests."""

    expressions: Flag = False
    """Whether `${{ }}` in the manifests is filled in."""

    images: Mapping[Text, Text] = Field(default_factory=dict)
    """References to rewrite: a whole reference, or one without tag for all of its tags."""

    patches: tuple[ComponentPatch, ...] = ()
    """Changes of its objects."""

    ready: tuple[StepEntry, ...] | None = None
    """Assertions that say when it's ready. Default: workloads rolled out, CRDs Established, APIServices Available, Jobs complete, bare Pods Ready."""

    timeout: PositiveDuration | None = None
    """By when it must be ready."""

    def is_for(self, cluster: str, default: str) -> bool:
        """Whether it's installed in the cluster of this name; `default` is the spec's first."""
        wanted = (self.cluster,) if isinstance(self.cluster, str) else self.cluster
        return cluster in (wanted or (default,))


def waits_for_cluster(value: Any) -> bool:
    """Whether a value has expressions about the cluster, which nobody can fill in before it's up."""
    return any(path.root in _OF_CLUSTERS for text in find_expressions(value) for path in paths_of(text))
