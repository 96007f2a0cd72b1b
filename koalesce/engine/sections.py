"""A list of steps within a test, and what holds for all of them."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_TIMEOUT = 30.0
INVARIANTS = "invariants"
INVARIANT_TIMEOUT = 5.0  # seconds of an invariant that says nothing
AFTERWARDS = ("cleanup", "onFailure")  # sections that run even where others broke off


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A list of steps within a test: `steps`, `setup`, `cleanup`, `onFailure`, `invariants` or `ready`."""

    spec: str
    test: str
    name: str
    timeout: float = DEFAULT_TIMEOUT
    deadline: float | None = None  # of the whole test, in the clock's seconds
    once: bool = False  # look once only (onFailure)
    group: str = ""  # what the titles of steps begin with, within a group
