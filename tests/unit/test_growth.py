"""Whether what grows with each cluster is told from others' comings and goings."""

from __future__ import annotations

import random

from tests.cluster.growth import held, too_much

CLUSTER = {"mounts": 20, "network namespaces": 5}


def cycles(leak: int) -> list[dict[str, int]]:
    """A hundred looks after a cluster went, beside others that come and go by a seed of their own."""
    others = random.Random(7)
    return [
        {name: 100 + others.randrange(3) * value + (leak if name == "network namespaces" else 0) * number for name, value in CLUSTER.items()}
        for number in range(100)
    ]  # fmt: skip


def test_one_more_each_cycle_is_too_much() -> None:
    assert too_much(cycles(1), CLUSTER).keys() == {"network namespaces"}


def test_what_others_make_is_not() -> None:
    assert too_much(cycles(0), CLUSTER) == {}


def test_a_cluster_holds_what_most_do() -> None:
    down = cycles(0)
    up = [{name: value + CLUSTER[name] for name, value in each.items()} for each in down]
    up[3]["mounts"] -= 500

    assert held(up, down) == CLUSTER
