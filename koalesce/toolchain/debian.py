"""Debian packages, fetched with apt and unpacked into folders of ours; nothing is installed, nothing of the host changes.

apt's own machinery does the work (the host's sources, keyrings, proxies, pins), on a private state: lists, cache and, for the
root file system of an image, an empty package status below the cache (apt.conf(5), `Dir::State`, `Dir::Cache`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from koalesce import process
from koalesce.errors import Interrupted, ProvisionError
from koalesce.process import Cancel
from koalesce.toolchain.roottree import finish
from koalesce.toolchain.shelf import FullDisk, locked

_LISTS_AGE = 12 * 3600.0
_TIMEOUT = 900.0
_LAST_LINES = 8
# Hooks of the host (Post-Invoke and the like) would act on the host, so only what tells apt how to fetch is taken over.
_KEPT = ("Acquire::", "APT::Architecture", "APT::Default-Release")
# Trees are merged by us; the package that does it on a running system would bring all of Perl.
_NOT_IN_IMAGES = "Package: usrmerge\nPin: version *\nPin-Priority: -1\n"


class PackagesUnavailable(ProvisionError):
    """Debian packages couldn't be fetched; shows what apt said."""


class Debian:
    """Fetches and unpacks Debian packages with their dependencies."""

    def __init__(
        self, root: Path, *, progress: Callable[[str], None] = lambda _: None, cancel: Cancel | None = None
    ) -> None:
        self._root = root
        self._progress = progress
        self._cancel = cancel

    def unpack(self, packages: Sequence[str], into: Path, *, on_host: bool) -> list[str]:
        """Unpack packages, and what they depend on, into a folder; returns the file names of all packages.

        With `on_host`, what the host has installed is left out; else the tree is complete in itself. The tree is usr-merged,
        and has the links that installing would have made (`iptables` → `iptables-nft`). Raises PackagesUnavailable.
        """
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise PackagesUnavailable(
                f"apt-get and dpkg-deb are needed to fetch {', '.join(packages)}, and this machine has none",
                hint="install them with this machine's own package manager; then they are found on PATH",
            )
        with locked(self._root / "apt.lock", cancel=self._cancel):
            archives = self._fetch(packages, on_host=on_host)
            for archive in archives:
                self._run(["dpkg-deb", "-x", archive, into], "unpacking Debian packages")
        finish(into)
        return [archive.name for archive in archives]

    def _fetch(self, packages: Sequence[str], *, on_host: bool) -> list[Path]:
        self._progress(f"fetching Debian packages: {', '.join(packages)}")
        configuration = self._configure(on_host=on_host)
        if self._are_lists_fresh():
            with contextlib.suppress(PackagesUnavailable):
                # Lists name files that a mirror may have replaced since; then newer ones do.
                return self._download(configuration, packages)
        complaints = self._update_lists(configuration)
        try:
            return self._download(configuration, packages)
        except PackagesUnavailable as error:
            raise PackagesUnavailable("\n".join([error.message, *complaints]), hint=error.hint) from error

    def _configure(self, *, on_host: bool) -> Path:
        for folder in ("lists/partial", "archives/partial", "none/partial", "no-settings"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        # A copy, since apt locks the folder that the status is in, and the host's is not ours to lock.
        host = Path("/var/lib/dpkg/status")
        (self._root / "host-status").write_bytes(host.read_bytes() if host.is_file() else b"")
        (self._root / "image-status").write_bytes(b"")
        dump = self._run(["apt-config", "dump"], "reading apt's configuration").out
        path = self._root / ("host.conf" if on_host else "image.conf")
        text = configuration(dump, self._root, on_host=on_host)
        path.write_text(text, encoding="utf-8")
        own = Path("/etc/apt/preferences")
        known = own.read_text(encoding="utf-8") if own.is_file() else ""
        (self._root / "image.preferences").write_text(f"{known}\n{_NOT_IN_IMAGES}", encoding="utf-8")
        return path

    def _are_lists_fresh(self) -> bool:
        stamp = self._root / "lists-fetched"
        return stamp.exists() and time.time() - stamp.stat().st_mtime < _LISTS_AGE

    def _update_lists(self, configuration: Path) -> list[str]:
        """Fetch the package lists; returns what apt complained of, which need not matter for the packages that are wanted."""
        result = self._apt(configuration, ["update"])
        if result.code:
            raise _failure("fetching the lists of Debian packages failed", result, self._root)
        complaints = [f"  | {line}" for line in result.err.splitlines() if line.startswith(("E:", "W:"))]
        if not complaints:
            (self._root / "lists-fetched").touch()
        return complaints[-_LAST_LINES:]

    def _download(self, configuration: Path, packages: Sequence[str]) -> list[Path]:
        install = ["-y", "--no-install-recommends", "--no-remove", "install", *packages]
        # apt lists what it would fetch only: what is kept from earlier must not count.
        listed = self._apt(
            configuration, ["-qq", "--print-uris", f"-oDir::Cache::archives={self._root}/none/", *install]
        )
        if listed.code:
            raise _failure(f"Debian packages can't be had together: {', '.join(packages)}", listed, self._root)
        names = archive_names(listed.out.splitlines())
        result = self._apt(configuration, ["-qq", "--download-only", *install])
        paths = [self._root / "archives" / name for name in names]
        missing = [path.name for path in paths if not path.is_file()]
        if result.code or missing or not names:
            raise _failure(
                f"fetching Debian packages failed: {', '.join(missing or names or packages)}", result, self._root
            )
        return paths

    def _apt(self, configuration: Path, words: list[str]) -> process.Result:
        environment = {
            **os.environ,
            "APT_CONFIG": str(configuration),
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C.UTF-8",
        }
        return self._run(["apt-get", *words], "fetching Debian packages", env=environment, check=False)

    def _run(
        self, command: Sequence[str | Path], what: str, *, env: dict[str, str] | None = None, check: bool = True
    ) -> process.Result:
        try:
            result = process.run(command, env=env, timeout=_TIMEOUT, cancel=self._cancel)
        except process.CommandTimeout as error:
            if error.cancelled:
                raise Interrupted from error
            raise PackagesUnavailable(f"{what}: {error.message}", hint=_HINT) from error
        if check and result.code:
            raise _failure(f"{what} failed", result, self._root)
        return result


_HINT = "check this machine's apt sources (`apt-get update`), or install the packages yourself"


def configuration(dump: str, root: Path, *, on_host: bool) -> str:
    """An apt configuration on a private state, from what `apt-config dump` says of the host's."""
    lines = [line for line in dump.splitlines() if line.startswith(_KEPT) and "DEP-11" not in line]
    own = {
        "Dir::State::lists": f"{root}/lists/",
        "Dir::State::status": f"{root}/host-status" if on_host else f"{root}/image-status",
        "Dir::State::extended_states": f"{root}/extended-states",
        "Dir::Cache": f"{root}/",
        "Dir::Cache::archives": f"{root}/archives/",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": f"{root}/no-settings",
        "APT::Sandbox::User": "root",  # the unprivileged user of apt can't write into a private folder
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::http::Timeout": "10",
        "Acquire::https::Timeout": "10",
        "Acquire::Retries": "1",
        "Acquire::Languages": "none",
    }
    if not on_host:
        own["Dir::Etc::preferences"] = f"{root}/image.preferences"
    return "\n".join([*lines, *(f'{key} "{value}";' for key, value in own.items())]) + "\n"


def archive_names(lines: Iterable[str]) -> list[str]:
    """The file names in apt's `--print-uris` output: `'URI' NAME SIZE CHECKSUM`."""
    return [line.split()[1] for line in lines if line.startswith("'") and line.split()[1].endswith(".deb")]


def _failure(message: str, result: process.Result, folder: Path) -> ProvisionError:
    said = [line for line in (result.err + result.out).splitlines() if line.strip()][-_LAST_LINES:]
    text = "\n".join(f"  | {line}" for line in said)
    if "No space left on device" in text:
        return FullDisk(folder)
    return PackagesUnavailable(f"{message}\n{text}" if text else message, hint=_HINT)
