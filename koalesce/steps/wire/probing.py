"""Looking at the wire: hands the probe program batches of targets, one command a node, all nodes at the same time."""

from __future__ import annotations

import ipaddress
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from koalesce.cluster import Machine
from koalesce.records import dataclass
from koalesce.steps.base import StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.agnhost import ProbeError
from koalesce.steps.wire.pod_probe import FROM_PODS, PodProbe, command_of

if TYPE_CHECKING:
    from koalesce import process

PROGRAM = "/opt/koalesce/bin/koalesce-probe"
_VERSION = "0.5.0"
Kind = Literal["tcp", "udp", "sctp", "http", "dns"]
OutcomeName = Literal["allowed", "refused", "rejected", "dropped", "error"]
KINDS: Mapping[str, Kind] = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
# So many targets of a source are looked at together.
_CONCURRENCY = 64
_START_UP = 10.0
# What this machine must not be made to ask: link-local addresses, where clouds serve credentials.
DENIED_TO_HOST = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to try: `tcp`, `udp` and `sctp` have host and port, `http` and `dns` the probe's own fields of a request or a question.

    `read_reply` makes TCP wait for an answer or a banner, UDP always does; `bind` is the address and port to send from. `size` stands for a
    payload: the length of a packet of UDP, which must go `whole` or may be cut, or of what is sent over TCP.
    """

    type: Kind
    host: str = ""
    port: int = 0
    family: str = ""
    limit: float = 1.5
    payload: str = ""
    ask_source: bool = False
    read_reply: bool = False
    bind: str = ""
    size: int = 0
    whole: bool = False
    http: Mapping[str, Any] | None = None
    dns: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As the probe reads it."""
        fields = {
            "type": self.type, "host": self.host, "port": self.port, "family": self.family, "limit": self.limit,
            "payload": self.payload, "readReply": (self.read_reply or bool(self.payload)) and self.type == "tcp",
            "askSource": self.ask_source, "bind": self.bind, "size": self.size, "whole": self.whole, "http": self.http, "dns": self.dns,
        }  # fmt: skip
        return {key: value for key, value in fields.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What came of a target. `failure` is set where the network let it through and the server didn't do its part.

    `stage` is how far an HTTP request came that got no answer: resolve (there is no such name), connect, tls, answer.
    `mtu` is how long a packet may be where one was too long. `local` and `seen_source` are addresses without ports: the one that this side used, and the one that the server saw.
    """

    outcome: OutcomeName
    reason: str = ""
    failure: str = ""
    local: str = ""
    remote: str = ""
    seen_source: str = ""
    reply: str = ""
    seconds: float = 0.0
    icmp: Mapping[str, Any] | None = None
    mtu: int = 0
    stage: str = ""
    http: Mapping[str, Any] | None = None
    dns: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        why = self.failure or self.reason
        return f"{self.outcome} ({why})" if why else self.outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Targets to be looked at from one source.

    `own_network` has the source `host` look from this machine's own network instead of where the cluster's addresses can be reached.
    `is_led_in`: what it asks there is a way into the cluster.
    """

    source: Source
    targets: Sequence[Target] = field(default_factory=list)
    own_network: bool = False
    is_led_in: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The answer to a batch: what came of each target, in order, and the addresses of the source's network namespace."""

    results: Sequence[Observed]
    addresses: frozenset[str]


def probe(batches: Sequence[Batch], context: StepContext) -> list[Seen]:
    """Look at all targets of all batches and return what was seen, in order; ProbeError if any batch gave no answer.

    Limits of targets are never cut short by the step's deadline: a probe that was given no time would see silence.
    """
    groups: dict[str, list[int]] = {}
    for index, batch in enumerate(batches):
        groups.setdefault(place_of(batch, context), []).append(index)
    answers: list[Seen | None] = [None] * len(batches)

    def look(indexes: list[int]) -> None:
        for index, seen in zip(indexes, _run([batches[index] for index in indexes], context), strict=True):
            answers[index] = seen

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=max(1, min(16, len(groups)))) as pool:
        for done in [pool.submit(look, indexes) for indexes in groups.values()]:
            done.result()
    return [answer for answer in answers if answer is not None]


def reproduce(source: Source, target: Target, context: StepContext) -> str:
    """The command by which a person sees the same: on the source's node, on itself where it is a node or a fixture, or on this machine."""
    words = ["-limit", f"{target.limit:.3g}s"]
    by_node = source.machine is not None and source.machine.exec
    if source.kind == "pod" and by_node:
        words += ["-container", source.container_id]
    if target.ask_source:
        words.append("-source")
    if target.payload:
        words += ["-payload", target.payload]
    if target.size:
        words += ["-bytes", str(target.size), *(["-whole"] if target.whole else [])]
    if target.type == "http":
        words += ["http", str((target.http or {}).get("url", ""))]
    elif target.dns is not None:
        words += _dns_words(target.dns)
    else:
        host = f"[{target.host}]" if ":" in target.host else target.host
        words += [target.type, f"{host}:{target.port}"]
    if source.kind == "pod" and not by_node:
        return shlex.join(command_of(source, words, target.to_json(), context, _VERSION))
    if source.machine is None:
        prefix = () if is_loopback(target.host) else context.cluster.host_exec
        return shlex.join([*prefix, "koalesce-probe", *words])
    return shlex.join(["koalesce", "ssh", context.cluster.name, source.machine.name, "--", PROGRAM, *words])


def is_loopback(host: str) -> bool:
    """Whether an address (or `localhost`) means the very machine: from the source `host` that is this one, where port-forwards listen."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _dns_words(wish: Mapping[str, Any]) -> list[str]:
    words = ["-transport", str(wish["transport"])] if wish.get("transport") else []
    words += ["-search"] if wish.get("search") else []
    return [*words, "dns", str(wish["name"]), str(wish["type"]), *([str(wish["server"])] if wish.get("server") else [])]


def place_of(batch: Batch, context: StepContext) -> str:
    """What tells the places apart that the program runs at: machines, and pods whose nodes can't be had; ProbeError where it can't run there."""
    source = batch.source
    if source.kind == "host":
        return "/own" if batch.own_network else ""  # no node is called so
    if source.machine is None or not source.machine.exec:
        if source.kind == "pod" and FROM_PODS in context.cluster.capabilities:
            return f"/pod/{source.namespace}/{source.pod}"
        raise ProbeError(f"{source.name}: the cluster gives no way to run commands on its node")
    if source.kind == "pod" and not source.container_id:
        raise ProbeError(f"{source.name}: the container's ID is not known, so that its network can't be entered")
    return source.machine.name


def runner_of(source: Source, context: StepContext) -> Machine | PodProbe | None:
    """What runs the program for a source: its machine, or the pod itself; None is this machine."""
    if source.kind == "pod" and (source.machine is None or not source.machine.exec):
        return PodProbe(source, context, local_program, _VERSION)
    return source.machine


def container_of(source: Source) -> str:
    """The container that the program has to enter; empty where it's run in its network already."""
    return source.container_id if source.machine is not None and source.machine.exec else ""


def _run(batches: Sequence[Batch], context: StepContext) -> list[Seen]:
    """One run of the program for all batches of a machine."""
    from koalesce import process

    machine = runner_of(batches[0].source, context)
    request = json.dumps({"concurrency": _CONCURRENCY, "sources": [_source(n, b) for n, b in enumerate(batches)]})
    timeout = max(_patience(batch) for batch in batches) + _START_UP
    cancel = context.scope.cancel
    where = machine.name if machine else "this machine"
    try:
        if machine is not None:
            result = machine.run([PROGRAM], stdin=request.encode(), timeout=timeout, cancel=cancel)
        else:
            command = [*_prefix(batches, context), str(local_program(context))]
            result = process.run(command, stdin=request.encode(), timeout=timeout, cancel=cancel)
    except process.CommandTimeout as error:
        raise ProbeError(f"{where}: the probe gave no answer: {error.message}") from error
    except process.CommandMissing as error:
        raise ProbeError(f"{where}: {error.message}") from error
    return _parse(batches, result, where)


def _prefix(batches: Sequence[Batch], context: StepContext) -> tuple[str, ...]:
    if all(batch.is_led_in for batch in batches):
        return ()
    return host_prefix(context, own_network=batches[0].own_network)


def host_prefix(context: StepContext, *, own_network: bool) -> tuple[str, ...]:
    """What runs a program on this machine where it reaches the cluster; ProbeError where that's nowhere."""
    if own_network:
        context.files.beyond("this machine itself is asked, by an address of its own")
        return ()
    if context.cluster.is_borrowed and "host-exec" not in context.cluster.capabilities:
        raise ProbeError("it isn't known that this machine reaches the cluster's addresses (the capability host-exec)")
    return context.cluster.host_exec


def local_program(context: StepContext) -> Path:
    """The program on this machine; it's built when it is first needed."""
    if context.cluster.probe is not None:
        return context.cluster.probe
    from koalesce.toolchain import Toolchain

    return Toolchain(cancel=context.scope.cancel).tool("koalesce-probe", _VERSION) / "koalesce-probe"


def _source(number: int, batch: Batch) -> dict[str, Any]:
    targets = [{"id": str(index), **target.to_json()} for index, target in enumerate(batch.targets)]
    return {"id": str(number), "container": container_of(batch.source), "targets": targets}


def _patience(batch: Batch) -> float:
    rounds = math.ceil(len(batch.targets) / _CONCURRENCY)
    return rounds * max((target.limit for target in batch.targets), default=0.0)


def _parse(batches: Sequence[Batch], result: process.Result, where: str) -> list[Seen]:
    if result.code:
        said = (result.err.strip() or result.out.strip())[-500:]
        raise ProbeError(f"{where}: the probe ended with code {result.code}: {said}")
    try:
        sources = json.loads(result.stdout)["sources"]
        pairs = list(zip(batches, sources, strict=True))
    except (ValueError, KeyError, TypeError) as error:
        raise ProbeError(f"{where}: the probe's answer can't be read: {result.out[:200]!r}") from error
    return [_seen(batch, source) for batch, source in pairs]


def _seen(batch: Batch, answer: Mapping[str, Any]) -> Seen:
    if answer.get("error"):
        raise ProbeError(f"{batch.source.name}: the probe could not look from here: {answer['error']}")
    results = [observed_of(result) for result in answer.get("results") or ()]
    if len(results) != len(batch.targets):
        raise ProbeError(f"{batch.source.name}: {len(results)} answers to {len(batch.targets)} targets")
    return Seen(results=results, addresses=frozenset(answer.get("addresses") or ()))


def observed_of(result: Mapping[str, Any]) -> Observed:
    """What came of a target, as the program prints it."""
    return Observed(
        outcome=result["outcome"], reason=result.get("reason", ""), failure=result.get("failure", ""),
        local=_address(result.get("local", "")), remote=result.get("remote", ""),
        seen_source=result.get("seenSource", ""), reply=result.get("reply", ""),
        seconds=result.get("seconds", 0.0), icmp=result.get("icmp"), mtu=result.get("mtu", 0), stage=result.get("stage", ""),
        http=result.get("http"), dns=result.get("dns"),
    )  # fmt: skip


def _address(pair: str) -> str:
    return pair.rpartition(":")[0].strip("[]")
