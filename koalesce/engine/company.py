"""Who may use a thing at the same time: many that bear company, or one alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Company:
    """A thing that many use. Whoever wants to be alone waits for those who use it, and those who come later wait for them."""

    def __init__(self) -> None:
        self._users = 0
        self._waiting = 0  # to be alone, or alone now
        self._changed = threading.Condition()

    @contextmanager
    def joined(self, *, alone: bool) -> Iterator[None]:
        """Use it, with others or alone."""
        with self._changed:
            if alone:
                self._changed.wait_for(lambda: not self._waiting)
                self._waiting += 1
                self._changed.wait_for(lambda: not self._users)
            else:
                self._changed.wait_for(lambda: not self._waiting)
                self._users += 1
        try:
            yield
        finally:
            with self._changed:
                if alone:
                    self._waiting -= 1
                else:
                    self._users -= 1
                self._changed.notify_all()
