"""Which tests run where, when several workers run them (`-n 3`): clusters on some of the workers, tests that need none on all of them.

Making clusters and waiting for what happens in them leaves processors idle most of the time, so two at a time pay; more would
only be slower, and take memory. Tests that share a fixture stay together on one worker.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

_LANES = 2  # so many workers make clusters at a time, but for one that is left to the other tests
_CLUSTERS = ("tests/cluster/", "tests/specs/")
_OWN = "test_an_example_with_a_cluster_of_its_own_is_green["  # has nothing in common with the others
_SHARED = "shared cluster"
_MACHINE = "whole machine"
# Those that make clusters, in the order in which they begin: what takes long must not be what is left at the end. Others come after these.
_ORDER = (
    _MACHINE,
    *(f"tests/specs/test_specs.py[{name}]" for name in ("kube-router", "kube-router-bgp", "flannel")),
    _SHARED,
    f"tests/specs/test_examples.py::{_OWN}chaos]",
    "tests/specs/test_netpol.py",
)


def group(test: str) -> str:
    """What has to be run by one worker, one after the other, as this test."""
    path, _, name = test.partition("::")
    match path.split("/"):
        case ["tests", "cluster", *_]:
            return _MACHINE  # what is left of clusters is seen on the machine as a whole: no other of them may change anything there
        case ["tests", "specs", "test_specs.py"]:
            return f"{path}[{name.partition('[')[2]}" if "[" in name else test  # a spec's cluster
        case ["tests", "specs", "test_netpol.py"]:
            return path
        case ["tests", "specs", _]:
            return test if name.startswith(_OWN) else _SHARED
        case _:
            return path


class Lanes(LoadScopeScheduling):
    """Gives workers groups of tests: clusters first, in their order, to as many workers as may make some."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        if (found := self._next(node)) is not None:
            self.workqueue.move_to_end(found, last=False)
            super()._assign_work_unit(node)

    def _reschedule(self, node: Any) -> None:
        if self.workqueue and not node.shutting_down and self._next(node) is None:
            node.shutdown()
            return
        super()._reschedule(node)

    def _next(self, node: Any) -> str | None:
        """The group that a worker is to be given; None if it may not have what is left."""
        clusters = [name for name, tests in self.workqueue.items() if _makes_clusters(tests)]
        if clusters and self._may_make_clusters(node):
            return min(clusters, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
        return next((name for name in self.workqueue if name not in clusters), None)

    def _may_make_clusters(self, node: Any) -> bool:
        others = [groups for each, groups in self.assigned_work.items() if each is not node]
        busy = [groups for groups in others if any(map(_makes_clusters, groups.values()))]
        return len(busy) < max(1, min(_LANES, self.numnodes - 1))


def _makes_clusters(tests: dict[str, bool]) -> bool:
    """Whether tests of a group that aren't done make clusters."""
    return any(test.startswith(_CLUSTERS) for test, done in tests.items() if not done)
