"""References of images, read and completed as Docker does: `busybox` is `docker.io/library/busybox:latest`."""

from __future__ import annotations

from collections.abc import Iterable

from koalesce.errors import UsageError
from koalesce.patterns import pattern
from koalesce.records import dataclass

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = pattern(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_DOMAIN = pattern(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = pattern(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = pattern(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A complete reference: registry's domain, repository, and a tag, a digest or both."""

    domain: str
    path: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference and fill in what it leaves out; raises UsageError."""
        rest, _, digest = text.partition("@")
        first, slash, remainder = rest.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
            domain, path = first, remainder
        else:
            domain, path = "docker.io", rest
        path, colon, tag = path.partition(":")
        domain = "docker.io" if domain == "index.docker.io" else domain
        if domain == "docker.io" and "/" not in path:
            path = f"library/{path}"
        valid = _DOMAIN.fullmatch(domain) and _PATH.fullmatch(path) and len(path) < 256
        if not valid or (colon and not _TAG.fullmatch(tag)) or ("@" in text and not _DIGEST.fullmatch(digest)):
            raise UsageError(f"{text!r} is not an image reference", hint="for example docker.io/library/nginx:1.29")
        return cls(domain, path, tag or (None if digest else "latest"), digest or None)

    @property
    def name(self) -> str:
        """Domain and repository, without tag and digest."""
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def outside_of(registries: Iterable[str], references: Iterable[str]) -> tuple[str, ...]:
    """Those of references that are of none of these registries (by their domains)."""
    excluded = frozenset(registries)
    return tuple(text for text in references if Reference.parse(text).domain not in excluded)


def is_digest(text: str) -> bool:
    """Whether a text is a digest by itself, such as `sha256:…`."""
    return bool(_DIGEST.fullmatch(text))
