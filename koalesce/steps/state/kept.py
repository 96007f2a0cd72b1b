"""Settings and files, as wholes: what there is of them to compare with another look."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr

from koalesce.steps.state.items import Items
from koalesce.steps.state.view import Item, View

_SETTING = "name value link"
_FILE = "path type mode owner group target sha256"
_ROOT = "/proc/sys/"
_OF_LINK = re.compile(r"net/\w+/(?:conf|neigh)/(?!all/|default/)([^/]+)/")
_SWAPPED = str.maketrans("/.", "./")  # as in sysctl(8): `net.ipv4.conf.eth0/1.mtu`
_TYPES = {"f": "file", "d": "folder", "l": "link", "s": "socket", "p": "pipe", "c": "device", "b": "device"}
_SECTION = "==\0"


def _settings(text: str) -> list[Item]:
    """What can be set of the network, by name; those of a link with its name."""
    found = []
    for line in text.splitlines():
        path, _, value = line.removeprefix(_ROOT).partition(":")
        link = _OF_LINK.match(path)
        item = {"name": path.translate(_SWAPPED), "value": " ".join(value.split())}
        found.append({**item, "link": link[1]} if link else item)
    if not found:
        raise ValueError("there are no settings")
    return found


def _files(text: str) -> list[Item]:
    """Files with their modes, owners and sums of their contents."""
    found: dict[str, Item] = {}
    for part in text.split(_SECTION)[1:]:
        listed, _, summed = part.partition("--\0")
        for line in filter(None, listed.split("\0")):
            kind, mode, owner, group, target, path = line.split("\t", 5)
            item = {"path": path, "type": _TYPES.get(kind, kind), "mode": mode, "owner": owner, "group": group}
            found[path] = {**item, "target": target} if target else item
        for line in filter(None, summed.split("\0")):
            sum_, _, path = line.partition("  ")
            found[path]["sha256"] = sum_
    return list(found.values())


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


def _absolute(path: str) -> str:
    if not path.startswith("/") and "${{" not in path:
        raise ValueError(f'"{path}" must begin with /')
    return path


Paths = Annotated[list[Annotated[StrictStr, AfterValidator(_absolute)]], BeforeValidator(_as_list), Field(min_length=1)]


class FilesBelow(Items):
    """Which files there must be at some places: at least one, unless `count`, `all` or both say otherwise."""

    at: Paths
    """Files and folders with all that is in them, on the same file system: `/etc/cni/net.d`. What isn't there is none."""

    @property
    def view(self) -> View:
        """How they are looked at."""
        return files(self.at)


def files(paths: Sequence[str]) -> View:
    """Files and folders, with all that is in these on the same file system."""
    listed = " ".join(shlex.quote(path) for path in paths)
    look = (
        f'for p in {listed}; do printf \'==\\0\'; if [ ! -e "$p" ] && [ ! -L "$p" ]; then continue; fi\n'
        "find \"$p\" -xdev -printf '%y\\t%m\\t%U\\t%G\\t%l\\t%p\\0'; printf -- '--\\0'\n"
        'find "$p" -xdev -type f -exec sha256sum --zero {} +; done'
    )
    return View(look, _files, frozenset(_FILE.split()), "file")


SETTINGS = View(
    # Some of them can't be read, or only once something is set.
    f"find {_ROOT}net -type f -perm -0200 -exec grep -sH '' {{}} + || true",
    _settings,
    frozenset(_SETTING.split()),
    "setting",
)
