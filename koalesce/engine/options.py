"""What a run is asked to do."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koalesce.durations import Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The command line's wishes; everything that isn't said comes from the specs.

    `select` is a regular expression that is looked for in names of tests; `images` maps references to archives; `cancel` ends the run
    (with teardown) once it is set. `ttl` is that of kept clusters, instead of what specs say. `reruns` is how often a test that fails is run again, unless it says so itself. `cluster` is one that is up, on which all specs run, and which stays.
    `skip`, `labels` (label selectors), `start_at`, `shard` (number from 1, and of how many) and `only` (names of tests by spec) narrow what is selected further; `count` is how often each test
    runs, `shuffle` the seed of their order, `short` skips what takes long. `failfast` begins nothing after the first test that doesn't pass. `keep_on_failure` keeps clusters of
    specs that don't pass. `versions` of Kubernetes each get a run of every spec; `matrix` has values for axes of the specs.
    `parallel` tests of a spec run at once, and `at_once` specs, each on clusters of its own.
    `settings` are those of providers, by their names, over what specs say.
    `cached`: a spec that passed, and of which nothing has changed since, isn't run again, and results of those that pass are kept.
    """

    paths: tuple[str, ...] = ()
    root: Path | None = None
    keep: bool = False
    cluster: str | None = None
    ttl: Duration | None = None
    provider: str | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    kubernetes: str | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    select: str | None = None
    skip: str | None = None
    labels: tuple[str, ...] = ()
    start_at: str | None = None
    shard: tuple[int, int] | None = None
    only: Mapping[str, Collection[str]] | None = None
    count: int = 1
    shuffle: int | None = None
    short: bool = False
    failfast: bool = False
    keep_on_failure: bool = False
    versions: tuple[str, ...] = ()
    matrix: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parallel: int = 4
    at_once: int = 1
    timeout: Duration | None = None
    run_timeout: Duration | None = None
    reruns: int = 0
    trust: bool = False
    verbose: bool = False
    cached: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)
