"""Trees of unpacked Debian packages: made usr-merged, with the links that the packages' installation would have made."""

from __future__ import annotations

import shutil
from pathlib import Path

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_NETFILTER = [
    (name, suffix)
    for name in ("iptables", "ip6tables", "arptables", "ebtables")
    for suffix in ("", "-save", "-restore")
]
# What `update-alternatives` would link on Debian, best first; the legacy names stay beside them.
_ALTERNATIVES = {
    **{
        f"usr/sbin/{name}{suffix}": (f"usr/sbin/{name}-nft{suffix}", f"usr/sbin/{name}-legacy{suffix}")
        for name, suffix in _NETFILTER
    },
    "usr/bin/nc": ("usr/bin/nc.openbsd", "usr/bin/nc.traditional"),
    "usr/bin/netcat": ("usr/bin/nc.openbsd", "usr/bin/nc.traditional"),
    "usr/bin/awk": ("usr/bin/gawk", "usr/bin/mawk"),
    "usr/bin/pager": ("usr/bin/less",),
    "usr/bin/vi": ("usr/bin/vim.basic", "usr/bin/vim.tiny"),
    "usr/bin/which": ("usr/bin/which.debianutils",),
    "usr/bin/traceroute": ("usr/bin/traceroute.db",),
    "usr/bin/telnet": ("usr/bin/telnet.netkit", "usr/bin/inetutils-telnet"),
    "usr/bin/sh": ("usr/bin/dash", "usr/bin/bash"),
}
_UNNEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
)


def finish(root: Path) -> None:
    """Turn unpacked packages into a tree that works: merge into usr/, link alternatives, drop documentation."""
    for name in _MERGED:
        _merge(root / name, root / "usr" / name)
    for name, candidates in _ALTERNATIVES.items():
        _link(root, name, candidates)
    for name in _UNNEEDED:
        if not (root / name).is_symlink():
            shutil.rmtree(root / name, ignore_errors=True)


def add_root_links(root: Path) -> None:
    """Make `/bin`, `/lib` and so on the links into usr/ that a whole root file system has."""
    for name in _MERGED:
        if (root / "usr" / name).is_dir() and not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")


def _merge(source: Path, target: Path) -> None:
    """Move what lies in a top-level folder to its place below usr/, folder by folder."""
    if source.is_symlink() or not source.is_dir():
        return
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and not entry.is_symlink() and place.is_dir():
            _merge(entry, place)
        elif place.is_symlink() or place.exists():
            entry.unlink()
        else:
            entry.rename(place)
    shutil.rmtree(source, ignore_errors=True)


def _link(root: Path, name: str, candidates: tuple[str, ...]) -> None:
    path = root / name
    if path.exists() or path.is_symlink():
        return
    for candidate in candidates:
        if (root / candidate).exists() or (root / candidate).is_symlink():
            path.symlink_to(Path(candidate).name)
            return
