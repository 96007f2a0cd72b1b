"""Objects as they lie in the datastore, read just as far as is needed to tell whose they are and whether they were changed.

Built-in kinds lie there as protobuf behind a magic number (https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding),
others as JSON. Of protobuf only the frame is read: the numbers of metadata's fields have never changed
(k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from koalesce.records import dataclass

_MAGIC = b"k8s\0"
_RAW = 2  # of the frame
_METADATA, _STATUS = 1, 3  # of an object, where its kind has a status
_UID, _OWNERS, _OWNER_UID, _OWNER_CONTROLS = 5, 13, 4, 6
# Of a pod's status (k8s.io/api/core/v1/generated.proto): its addresses, and those of its node.
_POD_IP, _POD_IPS, _HOST_IP, _HOST_IPS, _IP = 6, 12, 5, 16, 1
# What changes without anybody changing the object: resourceVersion, generation, managedFields.
_PASSING = (6, 7, 17)
_PASSING_NAMES = ("resourceVersion", "generation", "managedFields")
_WITH_STATUS = frozenset(
    (
        "certificatesigningrequests", "controllers", "cronjobs", "daemonsets", "deployments", "flowschemas",
        "horizontalpodautoscalers", "ingress", "jobs", "minions", "namespaces", "persistentvolumeclaims", "persistentvolumes",
        "poddisruptionbudgets", "pods", "prioritylevelconfigurations", "replicasets", "resourcequotas", "servicecidrs", "services",
        "statefulsets", "volumeattachments",
    )
)  # fmt: skip
_Field = tuple[int, bytes, bytes]  # its number, the whole of it, what it holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is known of an object: `controller` is the UID of its controlling owner, `essence` what only a change changes."""

    uid: str
    controller: str
    essence: bytes


def resource_of(key: str) -> str:
    """The resource (as the datastore calls it) of a key: `/registry/pods/default/a` is of `pods`."""
    return key.split("/")[2]


@functools.lru_cache(maxsize=4096)
def read(key: str, value: bytes) -> Stored:
    """Read an object; one of an unknown form (an encrypted one, say) is nothing but its bytes."""
    try:
        if value.startswith(_MAGIC):
            return _of_protobuf(value, has_status=resource_of(key) in _WITH_STATUS)
        return _of_json(json.loads(value))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return Stored(uid="", controller="", essence=value)


def addresses_of(pod: bytes) -> frozenset[str]:
    """The addresses that a pod has of its own: none as long as it has no sandbox, or where it has those of its node."""
    try:
        if pod.startswith(_MAGIC):
            return _own_addresses(pod)
        status = json.loads(pod).get("status", {})
        own, nodes = ({each["ip"] for each in status.get(name, ())} for name in ("podIPs", "hostIPs"))
        return frozenset(own - nodes)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return frozenset()


def with_status_of(first: bytes, now: bytes) -> bytes:
    """An object as it was at first, with the status that it has now; as it was at first where one of them isn't protobuf."""
    if not (first.startswith(_MAGIC) and now.startswith(_MAGIC)):
        return first
    wanted = [whole for number, whole, _ in _fields(_raw(first)) if number != _STATUS]
    status = [whole for number, whole, _ in _fields(_raw(now)) if number == _STATUS]
    raw = b"".join((*wanted, *status))
    frame = b"".join(
        _bytes_field(_RAW, raw) if number == _RAW else whole for number, whole, _ in _fields(first[len(_MAGIC) :])
    )
    return _MAGIC + frame


def _raw(value: bytes) -> bytes:
    return next(held for number, _, held in _fields(value[len(_MAGIC) :]) if number == _RAW)


def _of_protobuf(value: bytes, *, has_status: bool) -> Stored:
    uid = controller = ""
    essence: list[bytes] = []
    for number, whole, held in _fields(_raw(value)):
        if number == _METADATA:
            for inner, part, text in _fields(held):
                if inner == _UID:
                    uid = text.decode()
                elif inner == _OWNERS:
                    controller = _controlling(text) or controller
                if inner not in _PASSING:
                    essence.append(part)
        elif not (has_status and number == _STATUS):
            essence.append(whole)
    return Stored(uid=uid, controller=controller, essence=b"".join(essence))


def _own_addresses(pod: bytes) -> frozenset[str]:
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for status in (held for number, _, held in _fields(_raw(pod)) if number == _STATUS):
        for number, _, held in _fields(status):
            if number in (_POD_IP, _HOST_IP):
                found[number == _POD_IP].add(held.decode())
            elif number in (_POD_IPS, _HOST_IPS):
                found[number == _POD_IPS] |= {ip.decode() for inner, _, ip in _fields(held) if inner == _IP}
    return frozenset(found[True] - found[False] - {""})


def _controlling(owner: bytes) -> str:
    parts = {number: held for number, _, held in _fields(owner)}
    return parts[_OWNER_UID].decode() if parts.get(_OWNER_CONTROLS) == b"\1" else ""


def _of_json(document: dict[str, Any]) -> Stored:
    metadata = document["metadata"]
    owners = [owner["uid"] for owner in metadata.get("ownerReferences", ()) if owner.get("controller")]
    kept = {key: value for key, value in metadata.items() if key not in _PASSING_NAMES}
    essence = {**{key: value for key, value in document.items() if key != "status"}, "metadata": kept}
    return Stored(
        uid=metadata.get("uid", ""),
        controller=owners[0] if owners else "",
        essence=json.dumps(essence, sort_keys=True).encode(),
    )


def _fields(data: bytes) -> Iterator[_Field]:
    """The fields of a message (https://protobuf.dev/programming-guides/encoding/); ValueError if it isn't one."""
    position = 0
    while position < len(data):
        begin = position
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                held_from = position
                _, position = _varint(data, position)
            case 1:
                held_from, position = position, position + 8
            case 2:
                size, held_from = _varint(data, position)
                position = held_from + size
            case 5:
                held_from, position = position, position + 4
            case _:
                raise ValueError("not protobuf")
        if position > len(data):
            raise ValueError("cut off")
        yield tag >> 3, data[begin:position], data[held_from:position]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _bytes_field(number: int, held: bytes) -> bytes:
    size, head = len(held), bytearray([number << 3 | 2])
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + held
