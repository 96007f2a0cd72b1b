"""Downloads publishers' files, each checked against its pinned SHA-256 before anything uses it."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from koalesce.errors import ProvisionError
from koalesce.process import Cancel
from koalesce.toolchain.network import Network, Refused, Unreachable

_CHUNK = 1 << 18
_REPORT_EVERY = 10.0
_SUMS_LIMIT = 1 << 20
MIRROR = "KOALESCE_DOWNLOAD_MIRROR"


class DownloadFailed(ProvisionError):
    """A file couldn't be downloaded, or isn't what its checksum says."""


class Downloader:
    """Fetches files over HTTP.

    With `KOALESCE_DOWNLOAD_MIRROR=https://mirror.example.com/x` in the environment, `https://dl.k8s.io/release/…` is fetched
    from `https://mirror.example.com/x/dl.k8s.io/release/…`; the checksums stay those of the publisher.
    """

    def __init__(
        self,
        network: Network,
        *,
        progress: Callable[[str], None] = lambda _: None,
        cancel: Cancel | None = None,
    ) -> None:
        self._network = network
        self._progress = progress
        self._cancel = cancel

    def fetch(self, url: str, sha256: str, into: Path) -> None:
        """Download a file; raises DownloadFailed, after which nothing is left at `into`."""
        seen = hashlib.sha256()
        address = _mirrored(url)
        started = reported = time.monotonic()
        size = 0
        try:
            with self._network.open(address, {}, cancel=self._cancel) as answer, into.open("wb") as file:
                while data := self._network.read(answer, _CHUNK, cancel=self._cancel):
                    seen.update(data)
                    size += file.write(data)
                    if time.monotonic() - reported > _REPORT_EVERY:
                        reported = time.monotonic()
                        rate = size / (reported - started) / 1e6
                        self._progress(f"downloading {url}: {size / 1e6:.0f} MB, {rate:.1f} MB/s")
            if seen.hexdigest() != sha256:
                raise DownloadFailed(
                    f"{address} doesn't have its pinned checksum (sha256 {sha256}, got {seen.hexdigest()})"
                )
        except Refused as error:
            into.unlink(missing_ok=True)
            raise DownloadFailed(f"{address}: the server answered {error}") from error
        except Unreachable as error:
            into.unlink(missing_ok=True)
            raise DownloadFailed(str(error)) from error
        except BaseException:
            into.unlink(missing_ok=True)
            raise

    def checksum(self, url: str, sums: str) -> str:
        """The SHA-256 that a publisher's file of checksums gives for a URL."""
        address = _mirrored(sums)
        try:
            with self._network.open(address, {}, cancel=self._cancel) as answer:
                text = self._network.read(answer, _SUMS_LIMIT, cancel=self._cancel).decode("utf-8", "replace")
        except Refused as error:
            raise DownloadFailed(f"{address}: the server answered {error}") from error
        except Unreachable as error:
            raise DownloadFailed(str(error)) from error
        found = find_checksum(text, url.rpartition("/")[2])
        if found is None:
            raise DownloadFailed(f"{address} has no SHA-256 of {url.rpartition('/')[2]}")
        return found


def find_checksum(text: str, name: str) -> str | None:
    """The SHA-256 of a file in `sha256sum` output, or in a file that holds nothing but one sum."""
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].lstrip("*").rpartition("/")[2] == name and _is_sum(words[0]):
            return words[0]
    only = text.split()
    return only[0] if len(only) == 1 and _is_sum(only[0]) else None


def unpack(archive: Path, folder: str, names: Iterable[str], into: Path) -> None:
    """Take binaries out of a folder of a (packed) tar archive; raises DownloadFailed if one isn't there."""
    wanted = {str(Path(folder, name)): name for name in names}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                name = wanted.pop(os.path.normpath(member.name), None)
                source = tar.extractfile(member) if name else None
                if name and source:
                    (into / name).write_bytes(source.read())
                    (into / name).chmod(0o755)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DownloadFailed(f"{archive.name} can't be unpacked: {error}") from error
    if wanted:
        raise DownloadFailed(f"{archive.name} lacks {', '.join(sorted(wanted))}")


def _mirrored(url: str) -> str:
    mirror = os.environ.get(MIRROR)
    return f"{mirror.rstrip('/')}/{url.partition('://')[2]}" if mirror else url


def _is_sum(word: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{64}", word))
