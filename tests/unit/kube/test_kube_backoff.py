from __future__ import annotations

import itertools
import random

from koalesce.kube.backoff import Backoff


def test_thirty_seconds_of_failures_take_fewer_than_twenty_tries() -> None:
    for seed in range(100):
        backoff = Backoff(random.Random(seed))

        times = list(itertools.takewhile(lambda at: at < 30, itertools.accumulate(backoff.next() for _ in range(50))))

        assert len(times) < 20


def test_no_delay_is_longer_than_six_seconds_nor_shorter_than_80_ms() -> None:
    backoff = Backoff(random.Random(1))

    delays = [backoff.next() for _ in range(100)]

    assert 0.08 <= delays[0] <= 0.12
    assert 4 <= min(delays[10:]) <= max(delays) <= 6


def test_begins_anew_once_it_worked() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(10):
        backoff.next()

    backoff.reset()

    assert backoff.next() <= 0.12
