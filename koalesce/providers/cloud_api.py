"""What is asked of a cloud without Terraform: what there is by its marks, and that it be removed. By it `sweep` works without any state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from koalesce.errors import ProvisionError

# The marks (labels, tags) of everything that a cluster has in a cloud.
CLUSTER_MARK = "koalesce-cluster"
RUN_MARK = "koalesce-run"
EXPIRY_MARK = "koalesce-expires"
_TRIES = 3  # of what is refused, and not only busy
_LONGEST_PAUSE = 5.0
EXPIRY_FORMAT = "%Y%m%dT%H%M%SZ"  # in what labels of every cloud may consist of


class CloudError(ProvisionError):
    """A cloud refused, or didn't answer."""


class Busy(CloudError):
    """A resource can't be removed yet: others need it, or something is being done to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something that a cloud has and that costs money or a place; `marks` are its labels or tags."""

    kind: str
    id: str
    name: str
    marks: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def run(self) -> str:
        """The run that it belongs to."""
        return self.marks.get(RUN_MARK, "")

    @property
    def expires(self) -> datetime | None:
        """When anybody may remove it; None if it doesn't say."""
        try:
            return datetime.strptime(self.marks.get(EXPIRY_MARK, ""), EXPIRY_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            return None

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.id})"


def marks_in(texts: Iterable[str]) -> dict[str, str]:
    """The marks that one of the texts says, where a cloud has no pairs: `koalesce:CLUSTER:RUN:EXPIRY`, or with dots; none of what others have made."""
    for text in texts:
        parts = str(text).replace(":", ".").split(".")
        if len(parts) == 4 and parts[0] == "koalesce":
            return dict(zip((CLUSTER_MARK, RUN_MARK, EXPIRY_MARK), parts[1:], strict=True))
    return {}


class CloudApi(Protocol):
    """A cloud's own API; CloudError where it refuses or doesn't answer."""

    def listing(self, marks: Mapping[str, str]) -> list[Resource]:
        """All that Koalesce has made there and that has these marks, in an order in which it can be removed."""

    def remove(self, resource: Resource) -> None:
        """Ask for its removal; all is well if it is gone. Busy if that has to wait."""


def remove_all(
    api: CloudApi,
    chosen: Callable[[], Sequence[Resource]],
    *,
    patience: float,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    told: Callable[[Resource], None] = lambda resource: None,
) -> None:
    """Remove what `chosen` lists until it lists nothing; CloudError says what is left, and why.

    What is busy is tried again for `patience` seconds, what is refused a few times.
    """
    deadline, wait = clock() + patience, 0.5
    asked: set[Resource] = set()
    refusals: dict[Resource, int] = {}
    while left := list(chosen()):
        reasons = {}
        for resource in left:
            try:
                api.remove(resource)
            except CloudError as error:
                reasons[resource] = error.message
                refusals[resource] = refusals.get(resource, 0) + (not isinstance(error, Busy))
            else:
                if resource not in asked:
                    told(resource)
                asked.add(resource)
        if clock() > deadline or any(refusals.get(resource, 0) >= _TRIES for resource in left):
            still = list(chosen())
            if still:
                raise CloudError("; ".join(reasons.get(each, f"{each} is still there") for each in still))
            return
        pause(wait)
        wait = min(2 * wait, _LONGEST_PAUSE)


def runs(resources: Iterable[Resource]) -> dict[str, list[Resource]]:
    """Resources by the runs that they belong to."""
    found: dict[str, list[Resource]] = {}
    for resource in resources:
        found.setdefault(resource.run, []).append(resource)
    return found
