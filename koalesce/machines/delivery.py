"""Puts onto a machine what its description says: one stream of tar(5), files of 0600 among it, and then images."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import tarfile
import threading
from pathlib import Path
from typing import BinaryIO

from koalesce.errors import ProvisionError
from koalesce.local.noderoot import File
from koalesce.machines import layout
from koalesce.machines.description import Description
from koalesce.machines.shell import Shell

_PATIENCE = 600.0
IMPORT = "ctr --namespace k8s.io images import --local -"
# Nothing may be refused for who owns it or how it is called; what is there already stays what it is (a folder, or a link to one).
_UNPACK = "tar -x -f - -C / --no-same-owner --keep-directory-symlink"


def deliver(shell: Shell, description: Description) -> None:
    """Unpack it all on the machine."""
    reading, writing = os.pipe()
    failures: list[Exception] = []
    writer = threading.Thread(target=_write, args=(writing, description, failures), name="archive", daemon=True)
    writer.start()
    with os.fdopen(reading, "rb") as stream:
        folders = " ".join(
            map(shlex.quote, ("/etc/kubernetes/manifests", "/var/lib/kubelet/volume-plugins", "/var/log/koalesce"))
        )
        shell.do(
            "files can't be copied there",
            f"umask 022; {_UNPACK} && mkdir -p {folders}",
            stdin=stream,
            timeout=_PATIENCE,
        )
    writer.join()
    if failures:
        raise ProvisionError(f"{shell.account}: files can't be copied there: {failures[0]}") from failures[0]


def load(shell: Shell, archive: Path) -> None:
    """Have the machine's containerd know all images of an archive."""
    with archive.open("rb") as stream:
        command = f"PATH={layout.TOOLS}/bin:$PATH; {IMPORT}"
        shell.do("images can't be imported", command, stdin=stream, timeout=_PATIENCE)


def _write(descriptor: int, description: Description, failures: list[Exception]) -> None:
    try:
        with os.fdopen(descriptor, "wb") as pipe, contextlib.suppress(BrokenPipeError):  # whoever reads says why
            write_archive(pipe, description)
    except (OSError, tarfile.TarError) as error:
        failures.append(error)


def write_archive(stream: BinaryIO, description: Description) -> None:
    """Write files, links and programs to a stream, as they are to lie below `/`."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, dereference=False) as archive:
        for place, path in description.programs.items():
            _add_program(archive, place, path)
        for place, target in description.links.items():
            member = tarfile.TarInfo(place.lstrip("/"))
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for file in description.files:
            _add_file(archive, file)


def _add_program(archive: tarfile.TarFile, place: str, path: Path) -> None:
    if path.is_dir():
        for each in sorted(path.iterdir()):
            if each.is_file():
                _add(archive, f"{place}/{each.name}", each)
    else:
        _add(archive, place, path)


def _add(archive: tarfile.TarFile, place: str, path: Path) -> None:
    """Add a program, or a link to one beside it; of other links, what they lead to."""
    beside = path.is_symlink() and "/" not in str(path.readlink())
    member = tarfile.TarInfo(place.lstrip("/"))
    if beside:
        member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
        archive.addfile(member)
        return
    member.mode, member.size = 0o755, path.stat().st_size
    with path.open("rb") as content:
        archive.addfile(member, content)


def _add_file(archive: tarfile.TarFile, file: File) -> None:
    content = file["text"].encode()
    member = tarfile.TarInfo(file["path"].lstrip("/"))
    member.mode, member.size = file["mode"], len(content)
    archive.addfile(member, io.BytesIO(content))
