"""The step `bgp`: sessions and routes of programs that speak BGP, on fixtures, on nodes and in pods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import model_validator

from koalesce import process
from koalesce.kube import ApiError, ExecTimeout
from koalesce.matching.flaws import refuse
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.places import Source, seconds_left, select
from koalesce.steps.objects.reading import shortened
from koalesce.steps.routing.birdc import BIRDC
from koalesce.steps.routing.daemon import fate
from koalesce.steps.routing.expected import ROUTES, SESSIONS, Routes, Sessions
from koalesce.steps.routing.gobgp import GOBGP
from koalesce.steps.routing.reported import machine, routes_of, sessions_of
from koalesce.steps.routing.speaker import ESTABLISHED, Ask, Side, Speaker, Unreadable
from koalesce.steps.routing.vtysh import VTYSH
from koalesce.steps.state.items import at, together
from koalesce.steps.state.view import Item
from koalesce.steps.vantage import Machines, taken

_SPEAKERS = {"birdc": BIRDC, "gobgp": GOBGP, "vtysh": VTYSH}
_OF_PROGRAMS = {"bird": BIRDC, "frr": VTYSH, "gobgpd": GOBGP}
_PARALLEL = 16


class Bgp(Machines, Assertion, key="bgp"):
    """Say which BGP sessions or routes there must be at a router among the fixtures, in pods or on nodes, which must all be as said.

    Exactly one of `sessions` and `routes` is looked at. What is there is asked of the program itself, by `gobgp`, `vtysh` or `birdc`, which has to be where it
    runs. Its items are compared as objects are in `assert`; `exactly` says all of them as a table, and so does what a failure shows. That a route isn't there
    proves nothing unless a session is up by which it might come (or `mayNotExist: true` stands beside the step).
    """

    polls = True

    program: Literal["birdc", "gobgp", "vtysh"] | None = None
    """What to ask: `gobgp` (gobgpd, kube-router, whatever has GoBGP inside), `vtysh` (FRR) or `birdc` (BIRD 2). Default: what the fixture runs; in pods and
    on nodes `gobgp`."""

    sessions: Sessions | None = None
    """Sessions with peers: `peer` (its address), `name` (of the node or fixture with that address, or empty), `state` (`Idle`, `Connect`, `Active`, `OpenSent`,
    `OpenConfirm`, `Established`), `asn`, `localASN`, `routerID` (the peer's; empty before it said it), `localAddress`, `holdTime` (as negotiated, in
    seconds), `gracefulRestart` (whether the peer can), `accepted` (how many of its routes were)."""

    routes: Routes | None = None
    """Routes of a family by `prefix`: `nextHops`, `peers` (who announced it; empty for its own) and `communities` as sets in whatever order; `asPath` (a list of numbers), `origin`
    (`igp`, `egp`, `incomplete`), `med`, `localPref` of the best path; `stale` (kept for a peer that restarts); `paths`, each with its `nextHop` and `peer`."""

    @model_validator(mode="after")
    def _check_form(self) -> Bgp:
        if (self.sessions is None) == (self.routes is None):
            raise ValueError("say exactly one of sessions and routes")
        for name, table, view in (("sessions", self.sessions, SESSIONS), ("routes", self.routes, ROUTES)):
            if table is not None:
                refuse([flaw.under(name) for flaw in table.flaws(view)], self)
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way to run commands on nodes, where it's about nodes."""
        return taken(written)

    def title(self) -> str:
        """What is looked at, and where."""
        return f"bgp {'sessions' if self.sessions else 'routes'} ({self.place()})"

    def attempt(self, context: StepContext) -> Outcome:
        """Look everywhere at the same time."""
        sources = select(self, context)
        if not isinstance(sources, list):
            return sources
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(sources))) as pool:
            looks = list(pool.map(lambda source: self._look(source, context), sources))
        outcome = self._summed_up(sources, looks)
        return replace(
            outcome,
            sessions=tuple(session for one in looks for session in one.sessions),
            routes=tuple(table for one in looks for table in one.routes),
        )

    def _summed_up(
        self, sources: Sequence[Source], looks: list[Passed | Failed | Errored]
    ) -> Passed | Failed | Errored:
        if broken := [one for one in looks if isinstance(one, Errored)]:
            return broken[0]
        if failed := [one for one in looks if isinstance(one, Failed)]:
            return together(failed, len(looks))
        values = [one.value for one in looks if isinstance(one, Passed)]
        if self.is_single:
            return Passed(f"{sources[0].name}: as expected", values[0])
        named = [{"name": source.name, "items": value} for source, value in zip(sources, values, strict=True)]
        return Passed(f"{len(sources)} places: as expected", named)

    def _look(self, source: Source, context: StepContext) -> Passed | Failed | Errored:
        speaker = self._speaker(source)
        if speaker is None:
            return Errored(f"{source.name} is no router, and program isn't said", final=True)

        def ask(words: Sequence[str]) -> str:
            return _said(source, words, context)

        try:
            sessions = [{**each, "name": machine(each["peer"], context)} for each in speaker.sessions(ask)]
            outcome = self._judged(source, speaker, ask, sessions, context)
        except Unreadable as error:
            why = fate(source.fixture, context.scope.cancel) if source.fixture else ""
            return Errored(f"{source.name}: {f'{why} ({error.message})' if why else error.message}")
        return replace(outcome, sessions=tuple(sessions_of(source, sessions, context)))

    def _judged(
        self, source: Source, speaker: Speaker, ask: Ask, sessions: list[Item], context: StepContext
    ) -> Passed | Failed:
        if self.routes is not None:
            return at(source.name, self._look_at_routes(self.routes, source, speaker, ask, sessions, context))
        assert self.sessions is not None  # noqa: S101 - one of both is there
        if not sessions and not context.may_not_exist:
            return Failed(f"{source.name}: it has no sessions at all", "sessions", "none", saw_nothing=True)
        return at(source.name, self.sessions.judge(sessions, SESSIONS, may_not_exist=context.may_not_exist))

    def _speaker(self, source: Source) -> Speaker | None:
        if self.program is not None:
            return _SPEAKERS[self.program]
        return _OF_PROGRAMS.get(source.fixture.program) if source.fixture else GOBGP

    @staticmethod
    def _look_at_routes(
        routes: Routes, source: Source, speaker: Speaker, ask: Ask, sessions: list[Item], context: StepContext
    ) -> Passed | Failed:
        side: Side = "received" if routes.received_from else "sent" if routes.sent_to else "table"
        wanted = routes.received_from or routes.sent_to
        of = [each for each in sessions if wanted in (None, each["peer"], each["name"])]
        if wanted and not of:
            there = ", ".join(each["name"] or each["peer"] for each in sessions) or "none"
            return Failed(f"it has no session with {wanted}; there are: {there}", wanted, "none", saw_nothing=True)
        is_up = any(each["state"] == ESTABLISHED for each in of)
        peer = of[0]["peer"] if wanted else ""
        found: list[Item] = []
        if side == "table" or is_up:  # of a session that is down nobody knows anything
            found = speaker.routes(ask, routes.family, side, peer, routes.fields)
        table = routes_of(source, routes.first(found), context, side=side, peer=peer, family=routes.family)
        outcome = routes.judge(found, ROUTES, may_not_exist=context.may_not_exist)
        if isinstance(outcome, Passed) and not outcome.value and not (is_up or context.may_not_exist):
            said = (
                f"no route is there, but no session {f'with {wanted} ' if wanted else ''}is up by which one might come"
            )
            outcome = Failed(f"{said}; say mayNotExist: true if that is meant", saw_nothing=True)
        return replace(outcome, routes=(table,))


def _said(source: Source, words: Sequence[str], context: StepContext) -> str:
    """What a command prints; Unreadable if it can't be run or fails."""
    timeout, cancel = seconds_left(context.scope), context.scope.cancel
    try:
        if source.kind == "pod":
            done: Any = context.cluster.kube.exec(
                source.pod,
                words,
                namespace=source.namespace,
                container=source.container,
                timeout=timeout,
                cancel=cancel,
            )
        elif source.machine is not None and source.machine.exec:
            done = source.machine.run(words, timeout=timeout, cancel=cancel)
        else:
            raise Unreadable("the cluster gives no way to run commands there")
    except (process.CommandTimeout, ExecTimeout) as error:
        raise Unreadable(f"{words[0]} was not done in time") from error
    except ApiError as error:
        raise Unreadable(error.message) from error
    if done.code:
        raise Unreadable(f"{' '.join(words[:4])}: {_complaint(done.out, done.err) or f'ended with code {done.code}'}")
    return str(done.out)


def _complaint(out: str, err: str) -> str:
    """What a command complained of; gobgp does so as JSON."""
    try:
        said = json.loads(out).get("error", "")
    except (ValueError, AttributeError):
        said = ""
    return shortened(said or err)
