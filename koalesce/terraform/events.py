"""What Terraform says while it works: one event a line of its machine-readable output.

The format: https://developer.hashicorp.com/terraform/internals/machine-readable-ui (the same for OpenTofu).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UI_MAJOR = "1"  # another major version of the stream may mean anything
_PROVISIONER_OUTPUT = "Output: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """An error or a warning; `file` is relative to the root, `line` counts from 1 (0: not in a file)."""

    severity: str
    summary: str
    detail: str = ""
    address: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        subject = f"{self.address}: " if self.address else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{place}{subject}{self.summary}{detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TerraformEvent:
    """A line of Terraform's output. `type` is Terraform's own, or `raw` for a line that is no JSON.

    `resource` is the address of the resource that it is about, `output` what a provisioner printed, `seconds` how long
    a finished resource took.
    """

    type: str
    message: str
    level: str = "info"
    resource: str = ""
    action: str = ""
    output: str = ""
    seconds: float | None = None
    diagnostic: Diagnostic | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def parse(line: str) -> TerraformEvent:
    """The event of a line; whatever isn't an object of the stream becomes a `raw` one."""
    try:
        data = json.loads(line)
    except ValueError:
        return TerraformEvent(type="raw", message=line)
    if not isinstance(data, dict) or "@message" not in data:
        return TerraformEvent(type="raw", message=line)
    about = data.get("hook") or data.get("change") or {}
    return TerraformEvent(
        type=str(data.get("type", "log")),
        message=str(data["@message"]),
        level=str(data.get("@level", "info")),
        resource=str((about.get("resource") or {}).get("addr", "")),
        action=str(about.get("action", "")),
        output=str(about.get("output", "")),
        seconds=about.get("elapsed_seconds"),
        diagnostic=_diagnostic(data["diagnostic"]) if data.get("diagnostic") else None,
        data=data,
    )


def is_understood(event: TerraformEvent) -> bool:
    """Whether the stream that begins with this event has a version that we know; true for every other event."""
    return event.type != "version" or str(event.data.get("ui", "")).split(".")[0] == UI_MAJOR


def _diagnostic(data: Mapping[str, Any]) -> Diagnostic:
    place = data.get("range") or {}
    detail = str(data.get("detail") or "").strip()
    if "provisioner error" in str(data.get("summary")) and _PROVISIONER_OUTPUT in detail:
        # The detail repeats the whole command, arguments and all, before what it printed; that is what tells the cause.
        command, _, printed = detail.partition(_PROVISIONER_OUTPUT)
        detail = _complaint(printed.strip()) or command.strip()
    return Diagnostic(
        severity=str(data.get("severity", "error")),
        summary=" ".join(str(data.get("summary", "")).split()),
        detail=detail,
        address=str(data.get("address") or ""),
        file=str(place.get("filename", "")),
        line=int((place.get("start") or {}).get("line", 0)),
    )


def _complaint(printed: str) -> str:
    """What a program complained of at last, as ours do (`error: …`), without the progress that it showed before."""
    _progress, found, complaint = f"\n{printed}".rpartition("\nerror: ")
    return complaint if found else printed
