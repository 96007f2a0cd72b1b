"""Mishaps: what stops us from finding out, as opposed to a verdict about the software under test.

A verdict (`Failed`) is a value; everything here is raised. The command line turns the classes into exit codes.
"""

from __future__ import annotations

from collections.abc import Mapping


class KoalesceError(Exception):
    """Something about us, the machine or the user's file went wrong; says what, and what to do.

    `message` is one sentence without a trailing period requirement; `hint` says what the user can do about it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(KoalesceError):
    """The command line, the configuration or a spec is not valid; nothing was started."""


class MissingCredentials(UsageError):
    """The environment lacks credentials of an account; `credentials` says what each of the variables would hold."""

    def __init__(self, message: str, *, credentials: Mapping[str, str]) -> None:
        super().__init__(message, hint="; ".join(f"export {name}=…" for name in credentials))
        self.credentials = credentials


class ProvisionError(KoalesceError):
    """The cluster, an image or a component could not be provided."""


class ClusterError(KoalesceError):
    """The cluster (its API, a node) did not answer as a working one does. `is_final`: asking again is of no use."""

    is_final = False


class Interrupted(KoalesceError):
    """The user or the machine asked us to stop (SIGINT, SIGTERM)."""

    def __init__(self, message: str = "interrupted") -> None:
        super().__init__(message)


_ADVICE = "remove it with: "


def without_advice(message: str) -> str:
    """A message without the hints of teardown errors that it tells of: whoever tells it of one gives a hint for all."""
    return "\n".join(line for line in message.split("\n") if not line.lstrip().startswith(f"hint: {_ADVICE}"))


class TeardownError(KoalesceError):
    """Something that we made could not be removed; `command` does it by hand, `forget` is for what it was on that is gone for good."""

    def __init__(self, message: str, *, command: str, forget: str = "") -> None:
        for_good = f"; if what it was on is gone for good: {forget}" if forget else ""
        super().__init__(message, hint=f"{_ADVICE}{command}{for_good}")
        self.command, self.forget = command, forget
