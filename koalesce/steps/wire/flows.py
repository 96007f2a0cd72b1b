"""What is asked again and again in the background: one question from one source to one target, and what its answers must be like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, Outcome, StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.control import Proof
from koalesce.steps.wire.probing import Observed, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A question. `look` says what is wrong with an answer, empty where nothing is.

    `hopes_for_silence`: what is expected is that the network lets nothing through. `is_control`: asked only to show that its source can reach
    something. `own_network` is that of a Batch.
    """

    name: str
    source: Source
    target: Target
    look: Callable[[Observed], str]
    hopes_for_silence: bool = False
    is_control: bool = False
    own_network: bool = False


Flows = list[Flow] | Failed | Errored


class Probe(Protocol):
    """A step that can be asked again and again: `tcp`, `udp`, `curl`, `dns`, `connectivity`."""

    def attempt(self, context: StepContext) -> Outcome:
        """Look once."""

    def flows(self, context: StepContext) -> Flows:
        """Its questions, to the sources and targets that there are now."""

    def not_continuous(self) -> str:
        """The field that has no meaning where it is asked again and again; empty if there is none."""


def control_flows(proof: Proof) -> list[Flow]:
    """The control probes of sources whose targets are to be silent."""
    return [
        Flow(
            name=f"control of {source.name}", source=batch.source, target=target, is_control=True,
            look=lambda observed: "" if proof.proves(observed) else str(observed),
        )
        for source, batch in zip(proof.sources, proof.batches, strict=True)
        for target in batch.targets
    ]  # fmt: skip


def title(source: Source, target: str) -> str:
    """From where to where."""
    return f"{source.name} → {target}"


def is_answered(observed: Observed) -> bool:
    """Whether something answered at all, rightly or not: what didn't is lost."""
    if observed.http is not None or observed.dns is not None:
        return True
    return observed.outcome == "allowed" and not observed.failure and not observed.stage


def unproven(flows: Sequence[Flow], reached: Sequence[bool]) -> str:
    """The first source of which no control probe was ever answered, as a sentence; empty if there is none."""
    named = {flow.name for flow in flows if flow.is_control}
    shown = {flow.name for flow, one in zip(flows, reached, strict=True) if flow.is_control and one}
    missing = sorted(named - shown)
    return f"the {missing[0]} was never answered, so its silence proves nothing" if missing else ""
