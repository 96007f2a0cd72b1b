"""Where keys of a TOML file stand."""

from __future__ import annotations

import pytest

from koalesce.spec.toml_lines import line_of

TEXT = """\
# first
env = ["a = b"]
"quoted" = 1
run.short = true

[tool . koalesce]
exclude = [
  "x",
]
[tool.koalesce.run]
 parallel = 8
[other]
parallel = 9
[[many.times]]
inline = {one = 1}
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (["env"], 2),
        (["quoted"], 3),
        (["run", "short"], 4),
        (["run"], 4),
        (["tool", "koalesce"], 6),
        (["tool", "koalesce", "exclude"], 7),
        (["tool", "koalesce", "run"], 10),
        (["tool", "koalesce", "run", "parallel"], 11),
        (["other", "parallel"], 13),
        (["many", "times"], 14),
        (["many", "times", "inline", "one"], 15),
        (["nowhere"], 0),
        (["a"], 0),
    ],
)
def test_finds_the_line_of_a_key_or_of_what_is_around_it(keys: list[str], line: int) -> None:
    assert line_of(TEXT, keys) == line
