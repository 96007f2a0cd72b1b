"""Where the values of flags come from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from koalesce.cli import run_arguments
from koalesce.cli.arguments import Parser, settings_of
from koalesce.cli.commands import load
from koalesce.cli.settings import SETTINGS, fill_in, settings
from koalesce.durations import Duration
from koalesce.errors import UsageError
from koalesce.spec.project import Project


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("koalesce.toml").write_text('[run]\nparallel = 8\ntimeout = "10m"\njunit = "out/j.xml"\nfailfast = true\n')


def filled(*words: str, **environ: str) -> argparse.Namespace:
    parser = Parser("koalesce run")
    load("run").add_arguments(parser)
    args = parser.parse(list(words))
    fill_in(args, environ)
    return args


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    args = filled("--timeout", "5m", KOALESCE_RUN_PARALLEL="3")

    assert (args.parallel, args.timeout, args.failfast, args.reruns) == (3, Duration(300.0), True, 0)
    assert args.junit == tmp_path / "out/j.xml"


def test_each_says_where_it_came_from() -> None:
    found = {
        each.name: (each.shown, each.source) for each in settings(Project.find(Path()), {"KOALESCE_RUN_SHORT": "1"})
    }

    assert found["parallel"] == ("8", "koalesce.toml")
    assert found["short"] == ("true", "KOALESCE_RUN_SHORT")
    assert found["kubernetes"] == ("-", "default")
    assert set(found) == set(SETTINGS)


def test_every_setting_is_a_flag_without_a_default_of_its_own() -> None:
    parser = Parser("koalesce run")
    load("run").add_arguments(parser)
    unsaid = {action.dest for action in parser._actions if action.default is run_arguments._UNSAID}

    assert unsaid - {"help"} == {name.replace("-", "_") for name in SETTINGS}


def test_the_settings_of_new_clusters_dont_matter_where_one_is_up() -> None:
    args = filled(
        "--cluster",
        "dev",
        KOALESCE_RUN_PROVIDER="kubeconfig",
        KOALESCE_RUN_KUBERNETES="1.34",
        KOALESCE_RUN_MACHINES="machines.yaml",
    )

    assert (args.provider, args.kubernetes, args.machines) == (None, (), None)


def test_machines_of_a_project_are_listed_beside_its_settings(tmp_path: Path) -> None:
    Path("koalesce.toml").write_text('[run]\nmachines = "lab/machines.yaml"\n')
    Path("lab").mkdir()
    Path("lab/machines.yaml").write_text("{machines: [192.0.2.10], knownHosts: known_hosts}")
    Path("other.yaml").write_text("[192.0.2.20]")

    said, wins = settings_of(filled()), settings_of(filled("--machines", "other.yaml"))

    assert said["ssh"] == {"machines": [{"host": "192.0.2.10"}], "known_hosts": str(tmp_path / "lab/known_hosts")}
    assert wins["ssh"]["machines"] == [{"host": "192.0.2.20"}]


def test_flags_win_over_a_file_of_settings_and_the_rest_of_it_counts() -> None:
    Path("lab.yaml").write_text("kubeconfig: {context: prod, pod_probes: agnhost}")

    said = settings_of(filled("--settings", "lab.yaml", "--context", "dev"))

    assert said["kubeconfig"] == {"context": "dev", "pod_probes": "agnhost"}


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("[run]\nparalel = 8", {}, 'koalesce.toml:2: run.paralel: there is no such setting; did you mean "parallel"?'),
        ("", {"KOALESCE_RUN_SHROT": "1"}, 'KOALESCE_RUN_SHROT: there is no such setting; did you mean "KOALESCE_RUN_SHORT"?'),
        ("[run]\nparallel = 0", {}, "koalesce.toml:2: run.parallel: '0' is not a whole number from 1"),
        ("[run]\nparallel = true", {}, "koalesce.toml:2: run.parallel: expected a text or a whole number, got true"),
        ('[run]\nshort = "no"', {}, "koalesce.toml:2: run.short: expected true or false, got 'no'"),
        ("", {"KOALESCE_RUN_SHORT": "maybe"}, "KOALESCE_RUN_SHORT: 'maybe' is neither true nor false"),
        ("", {"KOALESCE_RUN_PARALLEL": ""}, "KOALESCE_RUN_PARALLEL: is empty"),
        ("run = 1", {}, "koalesce.toml:1: run: expected a table of flags, got 1"),
    ],
)  # fmt: skip
def test_what_cant_be_right_is_refused(text: str, environ: dict[str, str], message: str) -> None:
    Path("koalesce.toml").write_text(text)

    with pytest.raises(UsageError) as refused:
        settings(Project.find(Path()), environ)

    assert message in str(refused.value)


@pytest.mark.parametrize(("versions", "expected"), [('"1.34,1.37"', ("1.34", "1.37")), ('["1.34"]', ("1.34",))])
def test_versions_are_a_text_or_a_list(versions: str, expected: Any) -> None:
    Path("pyproject.toml").write_text(f"[tool.koalesce.run]\nkubernetes = {versions}\n")
    Path("koalesce.toml").unlink()

    found = {each.name: each for each in settings(Project.find(Path()), {})}["kubernetes"]

    assert (found.value, found.source) == (expected, "pyproject.toml")
