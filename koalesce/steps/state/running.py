"""Who listens, what is mounted, what runs."""

from __future__ import annotations

import re

from koalesce.steps.state.view import Item, View

_LISTENER = "protocol address port process pid"
_MOUNT = "target source type options root"
_PROCESS = "pid name command"
_USER = re.compile(r'\("([^"]*)",pid=(\d+)')
# `read` and `tr` alone: a `ps` isn't everywhere.
_PROCESSES = r"""cd /proc && for p in [0-9]*; do
read -r name <$p/comm || continue; printf '%s\t%s\t%s\n' "$p" "$name" "$(tr '\0\n\t' '   ' <$p/cmdline)"; done 2>/dev/null"""


def _listeners(text: str) -> list[Item]:
    """Sockets that take connections or datagrams (`ss -lntup`)."""
    found = []
    for line in text.splitlines():
        words = line.split(None, 6)
        if len(words) < 6:
            raise ValueError(f"this is no line of ss: {line}")
        address, _, port = words[4].rpartition(":")
        user = _USER.search(words[6]) if len(words) > 6 else None
        found.append(
            {
                "protocol": words[0],
                "address": address.partition("%")[0].strip("[]"),
                "port": int(port),
                "process": user[1] if user else "",
                "pid": int(user[2]) if user else 0,
            }
        )
    return found


def _mounts(text: str) -> list[Item]:
    """What is mounted where (proc_pid_mountinfo(5)); octal escapes are spaces and the like."""
    found = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        if not separator:
            raise ValueError(f"this is no line of mountinfo: {line}")
        first, last = before.split(), after.split()
        options = dict.fromkeys([*first[5].split(","), *(last[2].split(",") if len(last) > 2 else ())])
        found.append(
            {
                "target": _unescaped(first[4]),
                "source": _unescaped(last[1]),
                "type": last[0],
                "options": list(options),
                "root": _unescaped(first[3]),
            }
        )
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), text)


def _processes(text: str) -> list[Item]:
    """What runs on the node and in its pods, but for kernel threads."""
    rows = [line.split("\t", 2) for line in text.splitlines()]
    return [
        {"pid": int(row[0]), "name": row[1], "command": row[2].strip()}
        for row in rows
        if len(row) == 3 and row[2].strip()
    ]


def is_the_look(process: Item) -> bool:
    """Whether it's the shell that looks for processes, or what that has started."""
    return str(process["command"]).startswith(("sh -ec cd /proc && for p in ", "tr \\0\\n\\t "))


VIEWS = {
    "listeners": View("ss -Hlntup", _listeners, frozenset(_LISTENER.split()), "listener"),
    "mounts": View("cat /proc/self/mountinfo", _mounts, frozenset(_MOUNT.split()), "mount"),
    "processes": View(_PROCESSES, _processes, frozenset(_PROCESS.split()), "process"),
}
