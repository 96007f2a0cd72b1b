"""Requests to an API server that is starting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from koalesce.errors import ClusterError
from koalesce.local.api import Api

NO_ADDRESS = "failed to allocate IP 10.96.0.10: "
NO_RANGE = f"{NO_ADDRESS}the provided network does not match the current range"
NOT_READY = f"{NO_ADDRESS}allocator not ready"
TAKEN = f"{NO_ADDRESS}provided IP is already allocated"


class ScriptedApi(Api):
    """Gives one prepared answer after the other."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = list(answers)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        status, message = self.answers.pop(0)
        return status, json.dumps({"message": message}).encode()


def test_creating_goes_on_until_the_server_is_ready_for_it() -> None:
    refusals = ((0, "refused"), (403, "no roles yet"), (422, NO_RANGE), (422, NOT_READY), (422, TAKEN))
    api = ScriptedApi(*refusals, (201, "made"))
    pauses: list[str] = []

    made = api.create("/api/v1/namespaces/kube-system/services", {}, keep_trying=lambda: pauses.append("pause"))

    assert (made, api.answers, len(pauses)) == ({"message": "made"}, [], 5)


def test_who_has_waited_in_vain_is_told_the_last_answer() -> None:
    def give_up() -> None:
        raise ClusterError("waited 180 s in vain for the first objects")

    with pytest.raises(
        ClusterError, match=r"in vain for the first objects\nthe last answer to POST /x: 403 no roles yet"
    ):
        ScriptedApi((403, "no roles yet")).create("/x", {}, keep_trying=give_up)


def test_what_is_invalid_is_not_tried_again() -> None:
    api = ScriptedApi((422, "spec.ports: Required value"), (201, ""))

    with pytest.raises(ClusterError, match=r"POST /x: 422 .*Required value"):
        api.create("/x", {}, keep_trying=lambda: pytest.fail("it was tried again"))


def test_what_exists_already_is_returned_as_it_is() -> None:
    api = ScriptedApi((409, "exists"), (200, "as it is"))

    made = api.create("/x", {"metadata": {"name": "a"}}, keep_trying=lambda: pytest.fail("it was tried again"))

    assert made == {"message": "as it is"}
