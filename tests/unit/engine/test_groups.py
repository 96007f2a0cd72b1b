"""Groups of steps: what they are given, what they know, what they give."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

from tests.unit.engine.test_case import World

SHARED = """\
apiVersion: koalesce.dev/v1alpha1
kind: Steps
groups:
"""


def world(tmp_path: Path, groups: str, steps: str, *, folder: str = "", more: str = "") -> World:
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "shared.yaml").write_text(SHARED + indent(groups, "  "))
    return World(tmp_path, f"{more}tests:\n- name: t\n  steps:\n{indent(steps, '  ')}")


ECHO = """\
echo:
  params: {text: {}, end: {default: "!"}}
  outputs: {said: "${{ outputs.line }}"}
  steps:
  - script: "echo '${{ params.text }}${{ params.end }}'"
    outputs: {line: {jsonpath: "{.stdout}"}}
"""


def test_a_group_runs_with_its_parameters_and_gives_its_outputs(tmp_path: Path) -> None:
    steps = """\
- use: shared.yaml#echo
  with: {text: hello}
- script: {run: "echo '${{ outputs.said }}'", stdout: "hello!"}
"""
    found = world(tmp_path, ECHO, steps)

    assert found.run().status == "passed"
    assert [title for _, title, _ in found.steps()] == ["echo: script echo 'hello!'", "script echo 'hello!'"]


def test_parameters_keep_their_type_and_may_be_outputs(tmp_path: Path) -> None:
    group = """\
count:
  params: {items: {}}
  steps:
  - foreach: {item: one, in: "${{ params.items }}"}
    script: "echo ${{ one }}"
    outputs: {lines: {jsonpath: "{.stdout}"}}
  outputs: {all: "${{ outputs.lines }}"}
"""
    steps = """\
- script: "echo '[1, 2, 3]'"
  outputs: {found: {jsonpath: "{.json}"}}
- use: shared.yaml#count
  with: {items: "${{ outputs.found }}"}
- script: {run: "echo '${{ outputs.all }}'", stdout: '["1", "2", "3"]'}
"""

    finished = world(tmp_path, group, steps).run()

    assert finished.status == "passed", finished.message


def test_under_foreach_outputs_are_lists_and_can_be_renamed(tmp_path: Path) -> None:
    steps = """\
- use: shared.yaml#echo
  foreach: {item: word, in: [a, b]}
  with: {text: "${{ word }}", end: "?"}
  outputs: {words: {jsonpath: "{.said}"}}
- script: {run: "echo '${{ outputs.words }}'", stdout: '["a?", "b?"]'}
"""
    found = world(tmp_path, ECHO, steps)

    assert found.run().status == "passed"
    assert found.steps()[1][1] == "echo [b]: script echo 'b?'"


def test_a_group_fails_with_its_step_and_the_rest_is_not_run(tmp_path: Path) -> None:
    group = 'two:\n  steps:\n  - script: "exit 4"\n  - script: "true"\n'
    found = world(tmp_path, group, "- {name: check, use: shared.yaml#two}\n- script: 'true'\n")

    finished = found.run()

    assert finished.status == "failed"
    assert finished.message.startswith("check: script exit 4: exit code is 4")
    assert len(found.steps()) == 1


def test_a_condition_leaves_the_whole_group_out(tmp_path: Path) -> None:
    steps = "- {use: 'shared.yaml#echo', with: {text: x}, requires: [sctp]}\n- script: 'true'\n"
    found = world(tmp_path, ECHO, steps)

    assert found.run().status == "passed"
    assert next((title, status) for _, title, status in found.steps()) == ("echo", "skipped")


def test_an_output_that_was_never_made_is_an_error_of_the_group(tmp_path: Path) -> None:
    group = """\
skips:
  outputs: {line: "${{ outputs.line }}"}
  steps:
  - {script: "echo x", requires: [sctp], outputs: {line: {jsonpath: "{.stdout}"}}}
  - script: "true"
"""
    finished = world(tmp_path, group, "- use: shared.yaml#skips\n").run()

    assert finished.status == "error"
    assert "shared.yaml#skips: outputs.line: outputs has no 'line'" in finished.message


def test_groups_use_others_and_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    groups = ECHO + 'outer:\n  steps:\n  - {use: "#echo", with: {text: in}}\n  - script: "test -e shared.yaml"\n'
    found = world(tmp_path, groups, "- use: lib/shared.yaml#outer\n", folder="lib")

    assert found.run().status == "passed"
    assert [title for _, title, _ in found.steps()] == [
        "outer: echo: script echo 'in!'", "outer: script test -e shared.yaml",
    ]  # fmt: skip


def test_what_a_group_starts_ends_with_it(tmp_path: Path) -> None:
    group = """\
job:
  steps:
  - background: {id: job, run: {script: "sleep 60"}}
  - script: "exit 1"
  - stop: job
"""
    found = world(tmp_path, group, "- {use: shared.yaml#job, continueOnFailure: true}\n- use: shared.yaml#job\n")

    assert found.run().message.startswith("job: script exit 1: ")
    assert len(found.steps()) == 4


def test_what_is_included_is_there_as_if_it_stood_in_the_spec(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "all.yaml").write_text(
        SHARED.replace("groups:\n", "")
        + 'vars: {greeting: "hi"}\nsetup: {steps: [{script: "test -e all.yaml"}]}\ngroups:\n'
        + indent(ECHO, "  ")
    )
    steps = (
        'include: [lib/all.yaml]\nsetup:\n  steps:\n  - script: "true"\ntests:\n- name: t\n  steps:\n'
        '  - {use: "#echo", with: {text: "${{ vars.greeting }}"}}\n'
        '  - script: {run: "echo ${{ outputs.said }}", stdout: "hi!"}\n'
    )
    found = World(tmp_path, steps)

    assert found.run().status == "passed"
    assert [entry.title for entry in found.loaded.spec.setup.steps] == ["script test -e all.yaml", "script true"]
    assert found.loaded.spec.setup.steps[0].line == 4
    assert found.loaded.spec.setup.steps[0].files is not None
    assert found.loaded.spec.setup.steps[0].files.folder == tmp_path / "lib"
