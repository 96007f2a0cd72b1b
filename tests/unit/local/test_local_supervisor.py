"""When a supervisor ends its cluster by itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from koalesce.local.ledger import Entry, Ledger
from koalesce.local.request import from_mapping
from koalesce.local.supervisor import Supervisor, _Status
from koalesce.toolchain import ImageStore, LocalTools

LONG_AGO = "2020-01-01T00:00:00+00:00"


def supervisor(folder: Path, **fields: Any) -> Supervisor:
    """The supervisor of a cluster that is up, whose entry has these fields."""
    ledger = Ledger(folder / "clusters")
    values = {"created": LONG_AGO, "keep": True, "session": {"ttl": 60}} | fields
    entry = Entry(name="c1", **values)
    ledger.add(entry)
    nowhere = dict.fromkeys(LocalTools.__dataclass_fields__, Path("/"))
    request = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": str(folder / "c1")}
    found = Supervisor(
        request=from_mapping(request), tools=LocalTools(**{**nowhere, "system": (), "images": {}}),  # type: ignore[arg-type] # by name
        store=ImageStore(folder / "images"), ledger=ledger, status=_Status(os.open("/dev/null", os.O_WRONLY)), seeds=folder,
    )  # fmt: skip
    found._entry = entry
    return found


def test_a_kept_cluster_ends_when_its_time_is_over(tmp_path: Path) -> None:
    found = supervisor(tmp_path)

    found._end_in_time()

    assert found.stopping.is_set()
    assert found.hold is not None, "another run might begin to use it"
    assert found.ledger.try_share("c1") is None


@pytest.mark.parametrize(
    "fields",
    [{"session": {}}, {"session": {"ttl": 0}}, {"session": {"ttl": 1e12}}, {"keep": False}],
)
def test_no_other_cluster_does(tmp_path: Path, fields: dict[str, Any]) -> None:
    found = supervisor(tmp_path, **fields)

    found._end_in_time()

    assert not found.stopping.is_set()


def test_a_run_that_uses_it_is_waited_for(tmp_path: Path) -> None:
    found = supervisor(tmp_path)
    share = found.ledger.try_share("c1")
    assert share is not None

    found._end_in_time()
    assert not found.stopping.is_set()
    share.release()
    found._end_in_time()

    assert found.stopping.is_set()
