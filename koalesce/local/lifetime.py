"""How long a cluster with a supervisor lives: as long as its runner, or, once it's kept, until it's removed or its time is over."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from koalesce.local.ledger import Entry, Hold, Ledger
from koalesce.records import dataclass

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Lifetime:
    """The life of the cluster of this name; `stopping` is set when it's over."""

    ledger: Ledger
    name: str
    stopping: threading.Event
    _entry: Entry | None = None
    _hold: Hold | None = None

    def begin(self, entry: Entry) -> Entry:
        """Write down that it begins (`Ledger.begin`); returns the entry as written."""
        self._entry = self.ledger.begin(entry)
        return self._entry

    def watch(self) -> None:
        """From now on, notice the end of its runner, if it has one that doesn't keep it already."""
        if self._entry is not None and self._entry.session and not self._entry.keep:
            threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def end_in_time(self) -> None:
        """End a kept cluster whose time is over, once no run uses it."""
        if self._entry is None or not self._entry.is_over(datetime.now(UTC)):
            return
        entry = self.ledger.find(self.name)
        if entry and entry.keep and (hold := self.ledger.try_hold(self.name)):
            _log.info("the time of the cluster (%.0f s) is over", entry.ttl)
            self._hold = hold
            self.stopping.set()

    def let_go(self) -> None:
        """Let go of it, once nothing of it is left."""
        if self._hold:
            self._hold.release()

    def _watch(self) -> None:
        """Wait until the runner lets go of the cluster: it ended, unless it said that the cluster is to be kept."""
        self._hold = self.ledger.wait_for_hold(self.name)
        entry = self.ledger.find(self.name)
        if entry and entry.keep:
            if self._hold:
                self._hold.release()
            _log.info("the cluster is kept without its runner")
        else:
            _log.info("the runner is gone")
            self.stopping.set()
