"""How problems look."""

from __future__ import annotations

from koalesce.yaml import Position, Problem, did_you_mean


def test_a_problem_shows_its_line_with_a_caret() -> None:
    problem = Problem.at(
        "specs/a.yaml", "one\nkey: value\n", Position(2, 6, 5), "wrong", where="key", hint='did you mean "x"?'
    )

    assert str(problem) == (
        'specs/a.yaml:2:6: key: wrong; did you mean "x"?\n'
        "  2 | key: value\n"
        "    |      ^~~~~"
    )  # fmt: skip


def test_a_long_line_is_cut_around_the_place() -> None:
    text = "a" * 300 + "HERE" + "b" * 300

    shown = str(Problem.at("x", text, Position(1, 301, 4), "wrong")).splitlines()

    assert len(shown[1]) < 180
    start = shown[2].index("^")
    assert shown[1][start : start + 4] == "HERE"


def test_nothing_in_it_is_obeyed_by_a_terminal() -> None:
    problem = Problem.at("x", "a: \x1b[31mred\x07", Position(1, 4), "found \x1b[0m\nin the text")

    assert "\x1b" not in str(problem)
    assert "\x07" not in str(problem)
    assert problem.headline == "x:1:4: found  [0m in the text"


def test_a_place_beyond_the_text_has_no_line() -> None:
    assert str(Problem.at("x", "a\n", Position(9, 1), "wrong")) == "x:9:1: wrong"


def test_suggestions_look_past_case_and_dashes() -> None:
    assert did_you_mean("WaitFor", ["wait-for", "sleep"]) == 'did you mean "wait-for"?'
    assert did_you_mean("zzz", ["wait-for", "sleep"]) is None
