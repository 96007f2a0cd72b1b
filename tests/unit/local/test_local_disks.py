"""Disks that are full, on a node that is a fake: one page is written where nothing is, the limit comes down and goes up again."""

from __future__ import annotations

import pytest

from koalesce.errors import ClusterError
from koalesce.local import disks

PAGE = 4096


class Disk:
    """A file system of 100 pages, on which others write `meanwhile` some pages before a limit is set."""

    def __init__(self, used: int, *meanwhile: int) -> None:
        self.limit, self.used = 100, used
        self.meanwhile = list(meanwhile)
        self.marked = False

    def run(self, *command: str) -> str:
        match command:
            case ("stat", *_):
                return f"{self.limit} {self.limit - self.used} {PAGE}\n"
            case ("sh", *_, path):
                assert path == "/mnt/data/.koalesce-full"
                self.used, self.marked = self.used + 1, True
            case ("rm", "-f", "/mnt/data/.koalesce-full"):
                self.used, self.marked = self.used - self.marked, False
            case ("mount", "-o", option, "/mnt/data"):
                self.used += self.meanwhile.pop(0) if self.meanwhile else 0
                wanted = int(option.removeprefix("remount,size=")) // PAGE
                if wanted < self.used:
                    raise ClusterError("mount: /mnt/data: too small a size for current use")
                self.limit = wanted
        return ""


@pytest.mark.parametrize("used", [0, 1, 40, 100])
def test_a_full_disk_has_no_room_until_the_undo(used: int) -> None:
    disk = Disk(used)

    disks.fill(disk.run, "/mnt/data")
    assert disk.limit == disk.used == max(used, 1)

    disks.empty(disk.run, "/mnt/data", 100 * PAGE)
    assert (disk.limit, disk.used) == (100, used)


def test_what_others_write_or_remove_meanwhile_makes_it_look_again() -> None:
    disk = Disk(40, 3, -5)

    disks.fill(disk.run, "/mnt/data")

    assert disk.limit == disk.used == 38


def test_a_disk_that_can_not_be_limited_is_an_error() -> None:
    with pytest.raises(ClusterError, match="too small a size"):
        disks.fill(Disk(40, *[1] * 50).run, "/mnt/data")
