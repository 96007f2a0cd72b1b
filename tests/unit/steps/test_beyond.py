"""Steps that look at something which can't be told later: their result isn't one for later runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.steps.inside.places import Source
from koalesce.steps.wire.probing import Batch, _prefix
from tests.fakes import FakeCluster, FakeFiles, context, step

HOST = Source(kind="host", name="host")


def test_a_script_runs_on_this_machine(tmp_path: Path) -> None:
    files = FakeFiles(tmp_path)

    step("script: exit 0").attempt(context(FakeCluster(), files=files))

    assert files.reasons == ["a script runs on this machine"]


@pytest.mark.parametrize(
    ("batch", "reasons"),
    [
        (Batch(source=HOST), []),
        (Batch(source=HOST, own_network=True), ["this machine itself is asked, by an address of its own"]),
        (Batch(source=HOST, own_network=True, is_led_in=True), []),
    ],
    ids=["the cluster's network", "this machine", "a way into the cluster"],
)
def test_this_machine_is_asked_by_an_address_of_its_own(batch: Batch, reasons: list[str]) -> None:
    files = FakeFiles()

    _prefix([batch], context(FakeCluster(), files=files))

    assert files.reasons == reasons
