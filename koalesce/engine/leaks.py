"""What a spec has left in a cluster that the next one shall use: whatever differs from how the spec found it."""

from __future__ import annotations

from koalesce.cluster import Cluster
from koalesce.engine.phases import Verdict, phase
from koalesce.engine.session import RunSession
from koalesce.errors import ProvisionError
from koalesce.events import Status
from koalesce.kube import View
from koalesce.kube.marks import RUN_LABEL, run_label
from koalesce.matching.mismatch import and_more
from koalesce.providers.session import ClusterSession
from koalesce.steps.base import Errored, Failed, Outcome, Passed

_TIMEOUT = (
    90.0  # seconds in which pods of namespaces that go must have gone, with what CNI and kube-proxy had made for them
)
_SETTLED = 12.0  # seconds after which what differs, always the same, is not on its way out


class Leaked(Verdict):
    """Something was left, or it can't be told whether."""

    def __init__(self, message: str, status: Status) -> None:
        super().__init__(message)
        self.status = status


def check_leaks(session: RunSession, spec: str, made: ClusterSession) -> None:
    """Raise Leaked unless the cluster is as the spec found it; its namespaces may still be on their way out."""
    cluster = made.cluster
    if cluster is None:
        return

    def look(_view: View) -> Outcome:
        try:
            own = _own_namespaces(session, cluster)
            found = made.differences(list(own))
        except ProvisionError as error:  # something of the cluster has ended
            return Errored(error.message, final=True)
        found = [f"namespaces/{name} is still there" for name, is_going in own.items() if not is_going] + found
        if not found:
            return Passed("nothing is left")
        head = f"left in the shared cluster {cluster.name}: {found[0]}{and_more(len(found) - 1, 'thing')}"
        # What is theirs may be outside of namespaces (volumes, links of pods) and goes with them.
        settled = None if any(own.values()) else _SETTLED
        return Failed("\n".join([head, *found[1:]]), final_after=settled)

    with phase(session, spec, "leak check"):
        match session.waiter.until(cluster.kube, look, timeout=_TIMEOUT).outcome:
            case Failed(message=message):
                raise Leaked(message, "failed")
            case Errored(message=message):
                raise Leaked(f"it can't be told what is left in the cluster: {message}", "error")
            case _:
                pass


def _own_namespaces(session: RunSession, cluster: Cluster) -> dict[str, bool]:
    """The namespaces of this run that there are, and whether they are on their way out."""
    kube, selector = cluster.kube, f"{RUN_LABEL}={run_label(session.run_id)}"
    found = kube.list(kube.resource("namespaces"), selector=selector, metadata_only=True)
    return {each["metadata"]["name"]: bool(each["metadata"].get("deletionTimestamp")) for each in found}
