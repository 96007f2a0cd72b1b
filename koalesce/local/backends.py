"""The API servers of a cluster, and which of them work; connections go to those that do, in turns."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence

from koalesce.local.api import Api
from koalesce.local.request import API_PORT
from koalesce.pki import Pki

_log = logging.getLogger(__name__)
_EVERY = 1.0
_PATIENCE = 3.0
_MISSES = 3  # in a row: busy machines answer late now and then


class Backends:
    """API servers by their addresses; `on_lost` are told of each that doesn't work any more."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.on_lost: list[Callable[[str], None]] = []
        self._addresses = tuple(addresses)
        self._ready: set[str] = set()
        self._misses = dict.fromkeys(addresses, 0)
        self._turns = itertools.count()

    def in_turn(self) -> list[tuple[str, int]]:
        """Where to connect to: what works first, each in its turn, and then the rest, as nobody may know yet that they do."""
        ready = [address for address in self._addresses if address in self._ready]
        first = next(self._turns) % len(ready) if ready else 0
        ordered = [*ready[first:], *ready[:first]]
        rest = (address for address in self._addresses if address not in ordered)
        return [(address, API_PORT) for address in (*ordered, *rest)]

    def watch(self, pki: Pki, stopping: threading.Event) -> None:
        """Ask each of them every second from now on, from threads in the caller's network namespace."""
        for address in self._addresses:
            api = Api(pki, address, patience=_PATIENCE)
            threading.Thread(target=self._watch, args=(address, api, stopping), name="health", daemon=True).start()

    def _watch(self, address: str, api: Api, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self.note(address, is_ready=api.request("GET", "/readyz")[0] == 200)
            stopping.wait(_EVERY)

    def note(self, address: str, *, is_ready: bool) -> None:
        """Take an answer of one, or that there is none."""
        self._misses[address] = 0 if is_ready else self._misses[address] + 1
        if is_ready and address not in self._ready:
            _log.info("the API server at %s is ready", address)
            self._ready.add(address)
        elif self._misses[address] >= _MISSES and address in self._ready:
            _log.warning("the API server at %s is not ready any more", address)
            self._ready.discard(address)
            for tell in self.on_lost:
                tell(address)
