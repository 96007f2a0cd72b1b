"""From the arguments of `koalesce run` to what the engine is asked for."""

from __future__ import annotations

import argparse
import secrets
import threading
from pathlib import Path

from koalesce.cli.arguments import settings_of, variables_of
from koalesce.cli.failed_tests import read_failed
from koalesce.cli.specs import find_specs, names_specs
from koalesce.engine import RunOptions
from koalesce.errors import UsageError


def refuse_both(args: argparse.Namespace) -> None:
    """Raise UsageError for flags of the command line that don't go together."""
    for flag in (
        "provider",
        "kubernetes",
        "keep",
        "keep_on_failure",
        "context",
        "kubeconfig",
        "i_own",
        "allow_disruption",
        "allow_node_exec",
        "machines",
        "settings",
    ):
        if args.cluster is not None and getattr(args, flag, None):
            raise UsageError(
                f"--{flag.replace('_', '-')} says how clusters are made; --cluster takes one as it is",
                hint="leave out one of them",
            )
    if args.list and args.dry_run:
        raise UsageError("--list and --dry-run both run nothing", hint="leave out one of them")
    if getattr(args, "json", False) and (args.list or args.dry_run):
        raise UsageError("--json tells how tests run, and nothing runs", hint="leave it out")


def only_failed(args: argparse.Namespace) -> dict[str, frozenset[str]] | None:
    """The tests that failed when they last ran, where only those are wanted."""
    return read_failed() if args.rerun_failed else None


def options_of(args: argparse.Namespace, cancel: threading.Event, only: dict[str, frozenset[str]] | None) -> RunOptions:
    """The options; UsageError for an image or a spec that isn't there."""
    images = {reference: Path(path) for reference, path in args.image}
    for reference, path in images.items():
        if not path.exists():
            raise UsageError(f"--image {reference}={path}: there is no {path}")
    return RunOptions(
        paths=tuple(str(path) for path in find_specs(args.paths)),
        keep=args.keep,
        cluster=args.cluster,
        provider=args.provider,
        settings=settings_of(args),
        keep_on_failure=args.keep_on_failure,
        kubernetes=args.kubernetes[0] if len(args.kubernetes) == 1 else None,
        versions=args.kubernetes if len(args.kubernetes) > 1 else (),
        matrix=dict(args.matrix),
        images=images,
        variables=variables_of(args),
        select=args.select,
        skip=args.skip,
        labels=tuple(args.labels),
        start_at=args.start_at,
        shard=args.shard,
        only=only,
        count=args.count or 1,
        cached=args.cached and args.count is None and not names_specs(args.paths),
        shuffle=_seed(args.shuffle),
        short=args.short,
        failfast=args.failfast,
        parallel=args.parallel,
        at_once=args.at_once,
        timeout=args.timeout,
        run_timeout=args.run_timeout,
        reruns=args.reruns,
        trust=args.trust,
        verbose=getattr(args, "verbose", False),
        cancel=cancel,
    )


def _seed(said: int | str | None) -> int | None:
    return secrets.randbelow(1_000_000) if said == "on" else int(said) if said is not None else None
