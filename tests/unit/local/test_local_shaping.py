"""What a link's queueing discipline is told."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.errors import ClusterError
from koalesce.local.shaping import discipline


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"rate": "10mbit"}, "tbf rate 10mbit burst 32768 latency 400ms"),
        ({"rate": "1gbit"}, "tbf rate 1gbit burst 1250000 latency 400ms"),
        ({"latency": 0.05}, "netem delay 50000us"),
        ({"latency": 0.05, "jitter": 0.01, "loss": 2.5}, "netem delay 50000us 10000us loss 2.5%"),
        ({"loss": 100.0, "rate": "1mbit"}, "netem loss 100% rate 1mbit"),
    ],
)
def test_a_rate_alone_needs_no_netem(wanted: dict[str, Any], words: str) -> None:
    assert discipline(wanted) == words.split()


def test_a_rate_in_another_unit_is_none() -> None:
    with pytest.raises(ClusterError, match='"10MB/s" is no rate, such as 10mbit'):
        discipline({"rate": "10MB/s"})
