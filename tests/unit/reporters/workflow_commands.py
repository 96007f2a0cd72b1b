"""What GitHub's runner takes for commands in a log, by its own rules (actions/runner, src/Runner.Common/ActionCommand.cs)."""

from __future__ import annotations

from dataclasses import dataclass, field

# What the runner acts on; anything else with colons is a line like others.
KNOWN = {
    "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "internal-set-repo-path", "notice",
    "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning",
}  # fmt: skip
_DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
_PROPERTY = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))


@dataclass(frozen=True)
class Command:
    name: str
    data: str
    properties: dict[str, str] = field(default_factory=dict)


def commands(log: str) -> list[Command]:
    """The commands of a log, in order."""
    return [found for line in log.splitlines() if (found := _second(line) or _first(line))]


def _second(line: str) -> Command | None:
    """`::name key=value,key=value::data`, with blanks before it."""
    line = line.lstrip()
    if not line.startswith("::") or (end := line.find("::", 2)) < 0:
        return None
    return _command(line[2:end], line[end + 2 :], ",", _DATA, _PROPERTY)


def _first(line: str) -> Command | None:
    """`##[name key=value;key=value]data`, anywhere in a line."""
    begin = line.find("##[")
    if begin < 0 or (end := line.find("]", begin)) < 0:
        return None
    rules = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))
    return _command(line[begin + 3 : end], line[end + 1 :], ";", rules, rules)


Rules = tuple[tuple[str, str], ...]


def _command(head: str, data: str, comma: str, of_data: Rules, of_properties: Rules) -> Command | None:
    name, _, rest = head.partition(" ")
    if name.lower() not in KNOWN:
        return None
    properties = {}
    for pair in rest.strip().split(comma):
        key, equals, value = pair.partition("=")
        if equals:
            properties[key.strip()] = _unescaped(value, of_properties)
    return Command(name.lower(), _unescaped(data, of_data), properties)


def _unescaped(text: str, rules: Rules) -> str:
    for escaped, sign in rules:
        text = text.replace(escaped, sign)
    return text
