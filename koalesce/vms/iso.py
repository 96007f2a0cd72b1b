"""An image of ISO 9660 with a few small files in one folder, as cloud-init reads what a machine is told (ECMA-119)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_SECTOR = 2048
_ROOT_AT = 20  # after 16 sectors of nothing, two descriptors, and the table of folders in both orders of bytes
_NO_DATE = b"0" * 16 + b"\0"


def image(label: str, files: Mapping[str, bytes]) -> bytes:
    """The image; names are told in lower case by Linux, whatever they're written in (`map=normal` of mount(8))."""
    extents, at = {}, _ROOT_AT + 1
    for name, data in sorted(files.items()):
        extents[name] = at
        at += max(1, -(-len(data) // _SECTOR))
    root = _record(b"\0", _ROOT_AT, _SECTOR, is_folder=True)
    entries = [root, _record(b"\1", _ROOT_AT, _SECTOR, is_folder=True)]
    entries += [_record(f"{name.upper()}.;1".encode(), extents[name], len(files[name])) for name in extents]
    folder = b"".join(entries)
    if len(folder) > _SECTOR:
        raise ValueError("more files than one sector names")
    table = struct.pack("<BBIHBx", 1, 0, _ROOT_AT, 1, 0), struct.pack(">BBIHBx", 1, 0, _ROOT_AT, 1, 0)
    parts = [_volume(label, at, len(table[0]), root), b"\xffCD001\x01", *table, folder]
    parts += [files[name] or b"\0" for name in extents]
    return b"\0" * 16 * _SECTOR + b"".join(map(_padded, parts))


def _volume(label: str, sectors: int, table: int, root: bytes) -> bytes:
    """The primary volume descriptor (8.4)."""
    return b"".join(
        (
            b"\x01CD001\x01\0",
            _text("LINUX", 32), _text(label, 32), bytes(8),
            _both(sectors), bytes(32),
            _both_short(1), _both_short(1), _both_short(_SECTOR),
            _both(table), struct.pack("<II", 18, 0), struct.pack(">II", 19, 0),
            root,
            *(_text("", 128) for _ in range(4)), *(_text("", 37) for _ in range(3)),
            _NO_DATE * 4, b"\x01",
        )
    )  # fmt: skip


def _record(name: bytes, extent: int, size: int, *, is_folder: bool = False) -> bytes:
    """A directory record (9.1)."""
    body = (
        _both(extent)
        + _both(size)
        + bytes(7)
        + bytes([2 if is_folder else 0, 0, 0])
        + _both_short(1)
        + bytes([len(name)])
        + name
    )
    body += b"\0" * (len(body) % 2)
    return bytes([len(body) + 2, 0]) + body


def _both(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)


def _both_short(number: int) -> bytes:
    return struct.pack("<H", number) + struct.pack(">H", number)


def _text(text: str, size: int) -> bytes:
    return text.encode("ascii").ljust(size)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _SECTOR)
