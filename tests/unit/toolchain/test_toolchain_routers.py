"""Where the programs of routers are had from."""

from __future__ import annotations

from pathlib import Path

from koalesce.toolchain import system


def test_a_host_has_a_router_if_it_has_all_of_it(tmp_path: Path) -> None:
    for path in system.ROUTERS["gobgpd"][1]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "usr/bin/vtysh").touch()

    assert system.has_router("gobgpd", tmp_path)
    assert not system.has_router("frr", tmp_path)
