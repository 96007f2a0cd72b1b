"""Links that are slow, far or lossy, by the kernel's queueing disciplines (tc(8))."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from koalesce.errors import ClusterError, ProvisionError
from koalesce.local import netns

_UNITS = {"k": 1e3, "m": 1e6, "g": 1e9}
_LEAST_BURST = 32 * 1024  # a packet with segments that the card would cut
_QUEUE = "400ms"  # how long packets wait at most where only the rate is bounded


def discipline(wanted: Mapping[str, Any]) -> list[str]:
    """The words of a discipline: tbf where only a `rate` is said, otherwise netem (`latency` and `jitter` in seconds, `loss` in percent)."""
    rate = str(wanted.get("rate") or "")
    latency, jitter, loss = (float(wanted.get(name) or 0) for name in ("latency", "jitter", "loss"))
    if not (latency or jitter or loss):
        return ["tbf", "rate", rate, "burst", str(_burst(rate)), "latency", _QUEUE]
    words = ["netem"]
    if latency or jitter:
        words += ["delay", _time(latency), *([_time(jitter)] if jitter else [])]
    words += ["loss", f"{loss:g}%"] if loss else []
    words += ["rate", rate] if rate else []
    return words


def shape(link: str, words: list[str]) -> None:
    """Put a discipline on a link of the calling thread's network namespace; ClusterError where the kernel has none such, or there is one."""
    try:
        netns.command(["tc", "qdisc", "add", "dev", link, "root", *words])
    except ProvisionError as error:
        hint = f"requires: [{words[0]}] leaves out what this machine's kernel can't do"
        raise ClusterError(error.message, hint=hint) from error


def unshape(link: str) -> None:
    """Take it away."""
    try:
        netns.command(["tc", "qdisc", "del", "dev", link, "root"])
    except ProvisionError as error:
        raise ClusterError(error.message) from error


def _burst(rate: str) -> int:
    """What may go at once: as much as is due between two ticks of the slowest clock (tc-tbf(8))."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg])bit", rate)
    if found is None:
        raise ClusterError(f'"{rate}" is no rate, such as 10mbit')
    return max(_LEAST_BURST, int(float(found[1]) * _UNITS[found[2]] / 8 / 100))


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f}us"
