"""What is known of a spec's result before it runs: what it depends on, or why no later run can be told to find the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from koalesce.cluster_request import ClusterRequest
from koalesce.engine.options import RunOptions
from koalesce.engine.provision import overrides
from koalesce.engine.selection import Selected
from koalesce.providers import provider
from koalesce.spec import LoadedSpec

_LOCAL = "local"


def refusal(loaded: LoadedSpec, options: RunOptions) -> str:
    """Why the result of a spec is good for one run alone; empty where it may be kept."""
    said = {
        f"--cluster {options.cluster}: a cluster that stays may be as others have left it": options.cluster is not None,
        "--keep asks for a cluster": options.keep,
        "--shuffle asks for another order": options.shuffle is not None,
        "--rerun-failed asks for tests to run": options.only is not None,
        "--count asks for tests to run": options.count > 1,
    }
    return next((reason for reason, is_so in said.items() if is_so), "") or next(_reasons(loaded, options), "")


def _reasons(loaded: LoadedSpec, options: RunOptions) -> Iterator[str]:
    for request in _requests(loaded, options):
        if request.provider != _LOCAL:
            yield f"clusters of the provider {request.provider} aren't made of what is on this machine"
        if request.egress != "none":
            yield f"its cluster reaches what lies outside (egress: {request.egress})"


def identity(selected: Selected, options: RunOptions, around: Mapping[str, str], tools: Mapping[str, str]) -> str:
    """All that is known beforehand, as one text: `around` is the machine, `tools` what clusters are made of, by version of Kubernetes."""
    loaded = selected.loaded
    told = {
        "around": dict(around),
        "spec": [loaded.shown, str(loaded.path), str(loaded.root), loaded.source.text],
        "values": [loaded.variables, loaded.env, loaded.cell.values if loaded.cell else {}],
        "clusters": [asdict(request) for request in _requests(loaded, options)],
        "tools": dict(tools),
        "tests": [[test.name, selected.skipped.get(test.name, "")] for test, _ in selected.tests],
        "options": [
            options.variables, options.parallel, options.reruns, options.timeout, options.ttl,
            {reference: str(path.absolute()) for reference, path in options.images.items()},
        ],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=_plain).encode()).hexdigest()


def versions(loaded: LoadedSpec, options: RunOptions) -> set[str]:
    """The versions of Kubernetes that its clusters have."""
    return {request.kubernetes for request in _requests(loaded, options)}


def _requests(loaded: LoadedSpec, options: RunOptions) -> list[ClusterRequest]:
    """What is asked for each of its clusters, with exact versions; errors as for `provision.check`, which comes before."""
    asked = [
        loaded.request(loaded.spec.metadata.name, "cached", overrides(options), section=section)
        for section in loaded.spec.cluster_specs
    ]
    return [provider(request.provider).resolve(request) for request in asked]


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else repr(value)
