from __future__ import annotations

import io

import pytest

from koalesce.reporters.console import LiveView
from koalesce.reporters.plain import Plain
from koalesce.reporters.terminal import Abilities, abilities, open_view

XTERM = {"TERM": "xterm-256color"}


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "expected"),
    [
        (Tty(), XTERM, Abilities(live=True, color=True, terminal=True)),
        (Tty(), {}, Abilities(live=False, color=False, terminal=True)),
        (Tty(), {"TERM": "dumb"}, Abilities(live=False, color=False, terminal=True)),
        (Tty(), {**XTERM, "NO_COLOR": "1"}, Abilities(live=True, color=False, terminal=True)),
        (Tty(), {**XTERM, "NO_COLOR": ""}, Abilities(live=True, color=True, terminal=True)),
        (Tty(), {**XTERM, "CI": "true"}, Abilities(live=False, color=True, terminal=True)),
        (Tty(), {**XTERM, "CI": "false"}, Abilities(live=True, color=True, terminal=True)),
        (io.StringIO(), XTERM, Abilities(live=False, color=False, terminal=False)),
        (io.StringIO(), {"FORCE_COLOR": "1"}, Abilities(live=False, color=True, terminal=False)),
        (io.StringIO(), {"FORCE_COLOR": "0"}, Abilities(live=False, color=False, terminal=False)),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, Abilities(live=False, color=False, terminal=False)),
    ],
)
def test_abilities(stream: io.StringIO, environ: dict[str, str], expected: Abilities) -> None:
    assert abilities(stream, environ) == expected


def test_the_live_view_is_for_terminals_only() -> None:
    assert isinstance(open_view(Tty(), XTERM), LiveView)
    assert isinstance(open_view(Tty(), XTERM, live=False), Plain)
    assert isinstance(open_view(Tty(), {**XTERM, "CI": "1"}), Plain)
    assert isinstance(open_view(io.StringIO(), {"FORCE_COLOR": "1"}), Plain)
