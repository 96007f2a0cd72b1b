"""The times that components of a node write before their lines, and the lines from a time on."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from koalesce.steps.inside.moments import parse_time

_LOOKED_AT = 120  # a time stands at the beginning of a line
# https://kubernetes.io/docs/concepts/cluster-administration/system-logs/ : severity, month and day, local time; no year
_KLOG = re.compile(r"(?:^|\s)[IWEF](\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{6})")


def zone_of(offset: str) -> timezone:
    """The zone that `date +%z` prints: `+0130`."""
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def lines_since(text: str, since: datetime, now: datetime) -> tuple[str, bool]:
    """The lines from a time on, and whether the log's beginning is older than that time.

    `now` is the node's time with its zone. A line without a time belongs to the one before it. ValueError if no line has one.
    """
    kept: list[str] = []
    is_late, saw_any, saw_older = False, False, False
    for line in text.splitlines():
        time = time_of(line, now)
        if time is not None:
            saw_any, is_late = True, time >= since
            saw_older = saw_older or not is_late
        if is_late:
            kept.append(line)
    if text.strip() and not saw_any:
        raise ValueError("none of its lines begins with a time")
    return "\n".join(kept), saw_older


def node_time(printed: str) -> datetime:
    """The time that `date '+%s %z'` prints, in its zone."""
    seconds, _, offset = printed.strip().partition(" ")
    return datetime.fromtimestamp(int(seconds), zone_of(offset))


def time_of(line: str, now: datetime) -> datetime | None:
    """The time that a line begins with, if it does; `now` says the year and the zone that the line doesn't."""
    head = line[:_LOOKED_AT]
    found = _KLOG.search(head)
    if found is None:
        return parse_time(head)
    month, day, hour, minute, second, micros = (int(part) for part in found.groups())
    year = now.year if (month, day) <= (now.month, now.day) else now.year - 1
    try:
        return datetime(year, month, day, hour, minute, second, micros, now.tzinfo).astimezone(UTC)
    except ValueError:
        return None
