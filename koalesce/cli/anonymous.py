"""Text for the public: without what it tells of a person, a machine, a company's network, or secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from koalesce.events import AnyEvent, from_json, to_json

# Hosts that everybody knows, and names within clusters; ends of names.
_PUBLIC = (
    "cluster.local", "docker.com", "docker.io", "gcr.io", "ghcr.io", "github.com", "go.dev", "golang.org", "hashicorp.com", "k8s.io",
    "koalesce.dev", "kubernetes.io", "localhost", "pypi.org", "quay.io", "svc",
)  # fmt: skip
_FILES = ("cfg", "conf", "crt", "go", "gz", "html", "json", "jsonl", "key", "log", "md", "pem", "py", "sh", "sock", "tar", "tf", "toml", "txt", "xml", "yaml", "yml")  # fmt: skip
# A name with dots before a port or a path, or behind a scheme or an @; whether its end is that of a file is looked at later.
_HOST = re.compile(
    r"(?<=://)[\w-]+(?:\.[\w-]+)*|(?<=@)[\w-]+(?:\.[\w-]+)+|(?<![\w./-])(?:[\w-]+\.)+[a-z]{2,}(?=[:/]\S)", re.IGNORECASE
)
_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_HOMES = re.compile(r"(?<![\w.-])/(?:home|Users)/[^/\s:'\"]+")
_SECRET = re.compile(
    r"""(?i)\b((?:[\w-]*(?:token|password|passwd|secret|api[-_]?key|access[-_]?key|credential)[\w-]*)["']?\s*[:=]\s*["']?)([^\s"',;}]{4,})"""
)
_KNOWN_TOKENS = re.compile(
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|AKIA[0-9A-Z]{16}|xox[abp]-[\w-]{10,})"
)


class Anonymous:
    """Takes names away, always in the same way: a host stays recognizable as the same one.

    `home`: the user's folder; `here`: the folder of the project; `names`: what this machine is called.
    """

    def __init__(self, *, home: Path, here: Path, names: Sequence[str]) -> None:
        self._folders = [(str(here), "."), (str(home), "~")]
        self._names = [
            re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
            for name in names
            if len(name) > 2 and name != "localhost"
        ]
        self._hosts: dict[str, str] = {}

    def text(self, text: str) -> str:
        """The text without them."""
        from koalesce.engine.masking import MASK, Masks

        text = _KNOWN_TOKENS.sub(MASK, _SECRET.sub(rf"\1{MASK}", Masks().text(text)))
        for folder, instead in self._folders:
            if folder != "/":
                text = re.sub(rf"{re.escape(folder)}(?![\w.-])", instead, text)
        text = _USER_INFO.sub(f"{MASK}@", _HOMES.sub("/home/USER", text))
        for name in self._names:
            text = name.sub("HOST", text)
        return _HOST.sub(lambda found: self._host(found[0]), text)

    def event(self, event: AnyEvent) -> AnyEvent:
        """The event without them, in whatever field they are."""
        return from_json(json.dumps(self._values(json.loads(to_json(event)))))

    def _values(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case list():
                return [self._values(each) for each in value]
            case dict():
                return {key: self._values(each) for key, each in value.items()}
            case _:
                return value

    def _host(self, name: str) -> str:
        end = name.rpartition(".")[2].lower()
        is_public = any(name.lower() == known or name.lower().endswith(f".{known}") for known in _PUBLIC)
        if is_public or end in _FILES or end.isdigit() or name == "HOST":
            return name
        return self._hosts.setdefault(name, f"host-{len(self._hosts) + 1}.example")
