"""The step `node-state`: what the kernel of a node says of itself, compared as objects are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, StrictStr, model_validator

from koalesce.matching.flaws import refuse
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import MISSING, and_more
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.identifier import Identifier
from koalesce.steps.inside.places import Source, select_fixtures, select_nodes
from koalesce.steps.state import addressing, filtering, ipvs, running
from koalesce.steps.state.items import Items, at, together
from koalesce.steps.state.kept import FilesBelow
from koalesce.steps.state.machines import OnMachines, asked, everywhere, reachable
from koalesce.steps.state.view import View

if TYPE_CHECKING:  # few specs compare a state with an earlier one
    from koalesce.steps.snapshot import Noted

VIEWS: Mapping[str, View] = {**addressing.VIEWS, **filtering.VIEWS, **ipvs.VIEWS, **running.VIEWS}
_KINDS = (*VIEWS, "files", "sysctls", "unchanged")


class NodeState(OnMachines, Assertion, key="node-state"):
    """Say what a node's kernel must have: routes, links, packet filters, sets, listeners, mounts, settings and the like.

    Exactly one kind is looked at, on each of the nodes or fixtures, which must all be as said. Items are compared as objects are in `assert`. Their
    fields are those of the tools (`ip -json -details`, `nft -j`) or listed at the kind; what is misspelt is refused, so that a `count: 0` says
    something. Or all that a `snapshot` has noted is compared with what is there now (`unchanged`).
    """

    polls = True

    routes: Items | None = None
    """Routes of all tables and both families: `dst` (`default`, `10.244.1.0/24`), `gateway`, `dev`, `table` (`main`), `protocol` (`kernel`, `"17"`), `scope`,
    `type`, `metric`, `prefsrc`, `nexthops`, `family` (`inet`, `inet6`) …"""
    rules: Items | None = None
    """Policy routing rules: `priority`, `src`, `dst`, `table`, `fwmark`, `iif`, `oif`, `family` …"""
    links: Items | None = None
    """Network links: `ifname`, `mtu`, `operstate`, `flags`, `master`, `address`, `linkinfo` (`{info_kind: vxlan, info_data: {id: 1}}`), `stats64` (`{rx: {errors: 0, dropped: 0}}`) …"""
    addresses: Items | None = None
    """Addresses of links: `ifname`, `local`, `prefixlen`, `cidr` (both in one), `scope`, `family` …"""
    neighbours: Items | None = None
    """ARP and neighbour discovery entries: `dst`, `dev`, `lladdr`, `state` …"""
    iptables: Items | None = None
    """Rules of iptables and ip6tables: `table`, `chain`, `rule` (as `iptables-save` prints it, after the chain), `target`, `comment`, `family` (`inet`, `inet6`)."""
    chains: Items | None = None
    """Chains of iptables and ip6tables: `table`, `chain`, `policy` (`-` for those that are no built-in ones), `family`."""
    nftables: Items | None = None
    """Objects of nftables' rule set, each with its `kind` (`table`, `chain`, `rule`, `set`, `map` …): `family`, `table`, `chain`, `name`, `expr` …"""
    ipsets: Items | None = None
    """Sets of ipset: `name`, `type`, `family`, `members` (a sorted list), `references`, `comments` and `timeouts` (by member), `header`."""
    connections: Items | None = None
    """Tracked connections: `protocol`, `src`, `dst`, `sport`, `dport`, `reply` (the same four), `state`, `mark`, `assured`, `unreplied`, `family` …"""
    ipvs: Items | None = None
    """Virtual servers of IPVS: `protocol` (`TCP`, `UDP`, `SCTP`), `address`, `port`, or `fwmark`; `scheduler`, `persistent` (seconds, 0 without), `ops`, `family`, and `servers`, a list of
    `{address, port, forward (Masq, Route …), weight, active, inactive}`. Where the kernel has no IPVS it's an error: `requires: [ipvs]` skips the test there."""
    listeners: Items | None = None
    """Sockets that listen: `protocol` (`tcp`, `udp`), `address` (`*`, `0.0.0.0`, `::`), `port`, `process`, `pid`."""
    mounts: Items | None = None
    """What is mounted in the node's own namespace: `target`, `source`, `type`, `options` (a list), `root`."""
    processes: Items | None = None
    """What runs on the node, its pods included: `pid`, `name`, `command`."""
    files: FilesBelow | None = None
    """Files: `path`, `type` (`file`, `folder`, `link`, `socket` …), `mode` (`"600"`), `owner` and `group` (numbers as text), `target` of links, `sha256` of contents."""
    sysctls: dict[StrictStr, Matcher] | None = Field(default=None, min_length=1)
    """Settings by name, each a value or a matcher: `{net.ipv4.ip_forward: 1, net.ipv4.conf.all.rp_filter: {in: [0, 2]}}`."""

    unchanged: Identifier | None = None
    """The id of a `snapshot` of the test, of an earlier one or of `setup`: each kind of state that it has noted is as it was, on all of its machines, or on those that are said here."""

    @model_validator(mode="after")
    def _check_form(self) -> NodeState:
        places = self.places
        if len(places) != 1 and (self.unchanged is None or places):
            raise ValueError(
                f"say exactly one of node, nodes, fixture, fixtures; found {' and '.join(places) or 'none'}"
            )
        kinds = [name for name in _KINDS if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(f"say exactly one of {', '.join(_KINDS)}; found {' and '.join(kinds) or 'none'}")
        if items := self._items:
            refuse([flaw.under(kinds[0]) for flaw in items.flaws(_view(kinds[0], items))], self)
        return self

    def title(self) -> str:
        """What is looked at, and where."""
        place = f" ({self.place()})" if self.places else ""
        return f"node-state {f'unchanged since {self.unchanged}' if self.unchanged else self._kind}{place}"

    def attempt(self, context: StepContext) -> Outcome:
        """Look everywhere at the same time."""
        if self.unchanged is not None:
            return self._compare(self.unchanged, context)
        sources = self.sources(context)
        if isinstance(sources, Errored):
            return sources
        look = self._look_at_settings if self.sysctls is not None else self._look_at_items
        looks = everywhere(lambda source: look(source, context), sources)
        if broken := [one for one in looks if isinstance(one, Errored)]:
            return broken[0]
        if failed := [one for one in looks if isinstance(one, Failed)]:
            return together(failed, len(looks))
        values = [one.value for one in looks if isinstance(one, Passed)]
        if self.node is not None or self.fixture is not None:
            return Passed(f"{sources[0].name}: as expected", values[0])
        named = [{"name": source.name, "items": value} for source, value in zip(sources, values, strict=True)]
        return Passed(f"{len(sources)} places: as expected", named)

    def _compare(self, since: str, context: StepContext) -> Outcome:
        """Look at what a snapshot has noted."""
        from koalesce.steps.snapshot import compared, mark_of

        seen, mark = context.sightings, mark_of(since, context)
        noted: Noted | None = seen.marks.get(mark) or seen.lasting.get(mark)
        if noted is None:
            return Errored(
                f"no snapshot {since} was noted: the step that does so has not run, or could not look", final=True
            )
        sources = self.sources(context) if self.places else _of_snapshot(noted, context)
        if isinstance(sources, Errored):
            return sources
        if strange := [source.name for source in sources if source.name not in noted.states]:
            return Errored(f"the snapshot {since} is not of {strange[0]}, but of {', '.join(noted.states)}", final=True)
        now = noted.step.look(sources, context)
        if isinstance(now, Errored):
            return now
        return compared(noted, now, f"snapshot {since}") or Passed(f"{len(sources)} places: as in snapshot {since}")

    @property
    def _kind(self) -> str:
        return next(name for name in _KINDS if getattr(self, name) is not None)

    @property
    def _items(self) -> Items | None:
        return getattr(self, self._kind) if self._kind in (*VIEWS, "files") else None

    def _look_at_items(self, source: Source, context: StepContext) -> Passed | Failed | Errored:
        items = self._items
        assert items is not None  # noqa: S101 - not settings
        view = _view(self._kind, items)
        found = asked(source, view.command, context, view.read)
        if isinstance(found, Errored):
            return found
        return at(source.name, items.judge(found, view, may_not_exist=context.may_not_exist))

    def _look_at_settings(self, source: Source, context: StepContext) -> Passed | Failed | Errored:
        wanted = self.sysctls or {}
        paths = [f"/proc/sys/{_path(name)}" for name in wanted]
        command = (
            "for p in " + " ".join(f"'{path}'" for path in paths) + "; do cat $p 2>/dev/null || echo; echo ==; done"
        )
        found = asked(source, command, context, lambda text: [part.strip() for part in text.split("==\n")])
        if isinstance(found, Errored):
            return found
        values = {name: _value(text) for name, text in zip(wanted, found, strict=False)}
        lacking = [
            (name, miss)
            for name, matcher in wanted.items()
            if (miss := matcher.check(values[name] if not _is_text(matcher) else _text(values[name])))
        ]
        if not lacking:
            return Passed("as expected", values)
        lines = [f"{name} {miss}" for name, miss in lacking]
        first = lacking[0][1]
        return at(
            source.name,
            Failed(lines[0] + and_more(len(lines) - 1, "setting"), first.expected, first.actual, "\n".join(lines)),
        )


def _of_snapshot(noted: Noted, context: StepContext) -> list[Source] | Errored:
    """The machines of a snapshot."""
    names = list(noted.states)
    is_of_fixtures = noted.step.fixture is not None or noted.step.fixtures is not None
    found = (select_fixtures if is_of_fixtures else select_nodes)(names, context.cluster)
    return found if isinstance(found, Errored) else reachable(found)


def _view(kind: str, items: Items) -> View:
    return items.view if isinstance(items, FilesBelow) else VIEWS[kind]


def _path(name: str) -> str:
    """The file of a setting: `net.ipv4.conf.eth0/1.mtu` has a slash for a dot, as in sysctl(8)."""
    return name.replace(".", "\0").replace("/", ".").replace("\0", "/") if "." in name else name


def _value(text: str) -> Any:
    if not text:
        return MISSING
    return int(text) if text.lstrip("-").isdigit() else " ".join(text.split())


def _is_text(matcher: Matcher) -> bool:
    return isinstance(matcher.equals, str)


def _text(value: Any) -> Any:
    return value if value is MISSING else str(value)
