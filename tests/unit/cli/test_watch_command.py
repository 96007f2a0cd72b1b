"""Looking at files, and what is done when they change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from koalesce.cli.arguments import Parser
from koalesce.cli.commands import watch
from koalesce.cli.main import main
from koalesce.cli.watching import await_change, changed, snapshot
from koalesce.errors import UsageError

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: a}
tests: [{name: t, steps: [{sleep: 1s}]}]
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    Path("specs/deep").mkdir(parents=True)
    Path("specs/a.yaml").write_text(SPEC)
    Path("specs/deep/b.yaml").write_text("b")


def test_sees_what_is_new_gone_and_another() -> None:
    Path("specs/gone").write_text("")
    before = snapshot([Path("specs")])
    Path("specs/gone").unlink()
    Path("specs/deep/b.yaml").write_text("other")
    Path("specs/new").write_text("")

    assert changed(before, snapshot([Path("specs")])) == [
        Path("specs/deep/b.yaml"),
        Path("specs/gone"),
        Path("specs/new"),
    ]


def test_drafts_and_hidden_folders_are_no_change() -> None:
    before = snapshot([Path("specs")])
    Path("specs/.koalesce").mkdir()
    for name in (".koalesce/x", ".a.yaml.swp", "a.yaml~"):
        Path("specs", name).write_text("")

    assert changed(before, snapshot([Path("specs")])) == []


def test_a_report_that_each_run_writes_is_no_change() -> None:
    written = watch._written(["--junit", "specs/r.xml", "-v"])
    before = snapshot([Path("specs")], written)
    Path("specs/r.xml").write_text("")

    assert changed(before, snapshot([Path("specs")], written)) == []
    assert changed(before, snapshot([Path("specs")])) == [Path("specs/r.xml")]


def test_a_change_is_told_once_it_is_over() -> None:
    looks = 0

    def is_over(_seconds: float) -> bool:
        nonlocal looks
        looks += 1
        if looks < 4:
            Path("specs/deep/b.yaml").write_text("x" * 10 * looks)
        return looks > 20

    assert await_change([Path("specs")], snapshot([Path("specs")]), is_over) == [Path("specs/deep/b.yaml")]
    assert looks == 4


def test_nothing_is_told_when_it_is_over() -> None:
    assert await_change([Path("specs")], snapshot([Path("specs")]), lambda _seconds: True) == []


class Calls:
    """Commands that were run, and their codes."""

    def __init__(self, *codes: int) -> None:
        self.words: list[list[str]] = []
        self._codes = list(codes)

    def __call__(self, words: Sequence[str]) -> int:
        self.words.append(list(words))
        return self._codes.pop(0) if self._codes else 0


def round_of(calls: Calls, *words: str) -> watch._Round:
    parser = Parser("koalesce watch")
    watch.add_arguments(parser)
    return watch._Round(Path("specs/a.yaml"), parser.parse(["specs/a.yaml", *words]), calls)


def test_the_cluster_is_made_once_and_runs_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = [False, True, True]
    monkeypatch.setattr(watch._Round, "_fits", lambda self: fits.pop(0))
    monkeypatch.setattr(watch._Round, "_is_up", lambda self: len(fits) < 2)
    calls = Calls()
    one = round_of(calls, "--set", "a.b=1", "--", "--run", "t")

    one.run()
    one.run()
    one.end()

    made = calls.words[0][3]
    run = ["run", "specs/a.yaml", "--cluster", made, "--set", "a.b=1", "--run", "t"]
    assert made.startswith("watch-a-")
    assert calls.words == [
        ["up", "specs/a.yaml", "--name", made, "--ttl", "2h", "--set", "a.b=1"],
        run,
        run,
        ["down", made],
    ]


def test_a_cluster_that_no_longer_fits_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch._Round, "_is_up", lambda self: True)
    monkeypatch.setattr(watch._Round, "_fits", lambda self: False)
    calls = Calls()

    round_of(calls).run()

    assert [words[0] for words in calls.words] == ["down", "up", "run"]


def test_without_a_cluster_nothing_runs() -> None:
    calls = Calls(3)

    assert round_of(calls).run() == 3
    assert [words[0] for words in calls.words] == ["up"]


def test_a_cluster_of_others_stays() -> None:
    calls = Calls(1)
    one = round_of(calls, "--cluster", "dev")

    assert (one.run(), one.end()) == (1, 0)
    assert [words[:4] for words in calls.words] == [["run", "specs/a.yaml", "--cluster", "dev"]]


def test_what_the_command_line_names_is_looked_at_too() -> None:
    Path("v.yaml").write_text("")
    Path("x.tar").write_text("")
    Path("src").mkdir()
    parser = Parser("koalesce watch")
    watch.add_arguments(parser)
    words = ["specs/a.yaml", "--also", "src", "--values", "v.yaml", "--image", "docker.io/x/y:1=x.tar"]

    roots = watch._roots(Path("specs/a.yaml"), parser.parse(words))

    assert roots == [Path("specs"), Path("src"), Path("v.yaml"), Path("x.tar")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["specs/gone.yaml"], "specs/gone.yaml: no such file or folder"),
        (["specs/a.yaml", "--also", "gone"], "--also gone: there is no gone"),
        (["specs/a.yaml", "--", "--failfsat"], 'unrecognized arguments: --failfsat; did you mean "--failfast"?'),
        (["specs/a.yaml", "--", "--cluster", "x"], "no spec and no --cluster"),
        (["specs/a.yaml", "--", "--json"], "--json is of one run"),
        (["specs/a.yaml", "--cluster", "gone"], "gone"),
    ],
)
def test_bad_input_is_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_round: watch._Round) -> int:
        raise AssertionError("a cluster was asked for")

    monkeypatch.setattr(watch._Round, "run", refuse)

    assert main(["watch", *words]) == 2
    assert message in capsys.readouterr().err


def test_one_spec_is_watched() -> None:
    Path("specs/c.yaml").write_text(SPEC)
    parser = Parser("koalesce watch")
    watch.add_arguments(parser)

    with pytest.raises(UsageError, match="specs has 2 specs; name one"):
        watch.run(parser.parse(["specs"]))
