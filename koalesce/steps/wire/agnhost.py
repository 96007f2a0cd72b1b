"""What `agnhost connect` can tell of the wire, where that is all there is: neither who said no nor what was answered."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from typing import Any

from koalesce.errors import ClusterError

BY_ICMP, OF_ANSWERS = "probe-icmp", "probe-answers"
_AT_ONCE = 16  # each is a process of its own
# Its words are the targets: number, limit, protocol, place. A lost datagram is sent once more: kernels tell of closed ports once a second.
SCRIPT = """\
ask() { said=$(/agnhost connect "$4" --timeout="$2" --protocol="$3" 2>&1); code=$?; }
tell() {
  ask "$@"; case $3-$said in udp-TIMEOUT*) ask "$@";; esac
  printf '%s %s %s\\n' "$1" "$code" "$said"
}
: >"$0"
count=0
for each; do
  tell $each &
  count=$((count + 1)); [ $((count % AT_ONCE)) -ne 0 ] || wait
done
wait
""".replace("AT_ONCE", str(_AT_ONCE))
_LINE = re.compile(r"(\d+) (\d+) ?(.*)")
_CANNOT_TELL = f"whether it was refused or rejected, which only probes that have the capability {BY_ICMP} tell"


class ProbeError(ClusterError):
    """The probe could not be run, or gave no answer: nothing is known about the wire."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


def patience(count: int, limit: float) -> float:
    """The seconds that so many targets may take, of which each may take so many."""
    return 3 * max(limit, 1.5) * math.ceil(count / _AT_ONCE)


def word_of(number: int, target: Mapping[str, Any], name: str) -> str:
    """A target as the script takes it; ProbeError for what agnhost can't try."""
    more = {"payload", "readReply", "askSource", "bind", "size", "http", "dns"} & set(target)
    if more or (target.get("family") and not _is_address(target["host"])):
        raise ProbeError(
            f"{name}: {', '.join(sorted(more)) or 'a family of a name'}: this takes the capability {OF_ANSWERS}",
            is_final=True,
        )
    host = f"[{target['host']}]" if ":" in target["host"] else target["host"]
    limit = max(target["limit"], 1.5) if target["type"] == "udp" else target["limit"]
    return f"{number} {limit:.3f}s {target['type']} {host}:{target['port']}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def results_of(said: str, count: int, where: str) -> list[dict[str, Any]]:
    """What the script has printed, as the probe program tells results; ProbeError for less than all of it."""
    told: dict[int, dict[str, Any]] = {}
    for line in said.splitlines():
        if (found := _LINE.fullmatch(line)) is None:
            continue
        number, code, words = int(found[1]), int(found[2]), found[3].strip()
        if code not in (0, 1):
            raise ProbeError(f"{where} has no agnhost that can be run: {words}")
        told[number] = _judged(code, words)
    if set(told) != set(range(count)):
        raise ProbeError(f"{where}: {len(told)} answers to {count} targets: {said[:200]!r}")
    return [told[number] for number in range(count)]


def _judged(code: int, said: str) -> dict[str, Any]:
    """What agnhost says, as an outcome. What it can't tell is no outcome, but an error."""
    if code == 0:
        return {"outcome": "allowed"}
    if said.startswith("TIMEOUT"):
        return {"outcome": "dropped", "reason": "nothing came back in time"}
    if said.startswith("REFUSED"):
        return {"outcome": "refused", "reason": f"agnhost can't tell {_CANNOT_TELL}"}
    if "operation not permitted" in said:
        return {"outcome": "dropped", "reason": "a filter in the source's own network: operation not permitted"}
    return {"outcome": "error", "reason": f"{said}; agnhost can't tell who said so ({BY_ICMP})"}
