"""Groups of steps and included files: what is said to be wrong with them, and where."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from koalesce.spec import InvalidSpecs, load

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: example}
"""
STEPS = """\
apiVersion: koalesce.dev/v1alpha1
kind: Steps
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)


def problems(spec: str, **files: str) -> list[str]:
    for name, text in files.items():
        Path(f"{name}.yaml").write_text(STEPS + dedent(text))
    Path("spec.yaml").write_text(SPEC + dedent(spec))
    with pytest.raises(InvalidSpecs) as invalid:
        load("spec.yaml", providers=["local"])
    return [problem.headline for problem in invalid.value.problems]


def one_test(*steps: str) -> str:
    return "tests:\n- name: t\n  steps:\n" + "".join(f"  - {step}\n" for step in steps)


def test_a_group_or_file_that_is_not_there() -> None:
    groups = 'groups: {reach: {steps: [{script: "true"}]}}'
    steps = ("use: lib.yaml#reech", "use: lab.yaml#reach", 'use: "#reach"', "use: lib.yaml", "use: spec.yaml#reach")

    assert problems(one_test(*steps), lib=groups) == [
        'spec.yaml:2:7: kind: must be Steps, not "Spec"',
        "spec.yaml:3:1: metadata: unknown field",
        "spec.yaml:4:1: tests: unknown field",
        'spec.yaml:7:10: tests[0].steps[0].use: there is no group "reech" in lib.yaml; did you mean "reach"?',
        'spec.yaml:8:10: tests[0].steps[1].use: lab.yaml: no such file; did you mean "lib.yaml"?',
        'spec.yaml:9:10: tests[0].steps[2].use: there is no group "reach" in the included files',
        "spec.yaml:10:10: tests[0].steps[3].use: write FILE#NAME, or #NAME for a group of an included file",
    ]


def test_a_path_outside_of_the_project() -> None:
    assert problems(one_test("use: ../lib.yaml#x")) == [
        "spec.yaml:7:10: tests[0].steps[0].use: ../lib.yaml: leads outside of the project's folder"
    ]


def test_parameters() -> None:
    groups = 'groups: {reach: {params: {url: {}, code: {default: 200}}, steps: [{script: "${{ params.uri }}"}]}}'
    steps = (
        "{use: lib.yaml#reach, with: {codes: 1}}",
        '{script: "true", with: {a: 1}}',
        "{use: lib.yaml#reach, with: {url: x}, timeout: 5s}",
    )

    assert problems(one_test(*steps), lib=groups) == [
        'spec.yaml:7:6: tests[0].steps[0].use: reach needs the parameter "url"; give it by with',
        'spec.yaml:7:34: tests[0].steps[0].with.codes: reach has no parameter "codes"; did you mean "code"?',
        "spec.yaml:8:22: tests[0].steps[1].with: parameters are for groups, beside use",
        "spec.yaml:9:43: tests[0].steps[2].timeout: the steps of the group say this, each for itself",
        'lib.yaml:3:76: groups.reach.steps[0].script: params.uri: the group has no parameter "uri"; did you mean "url"?',
    ]  # fmt: skip


def test_a_problem_in_a_group_is_said_once_with_its_place_and_where_it_is_used() -> None:
    groups = """\
        groups:
          wait:
            steps:
            - wait-for: {resource: pod/a, conditon: Ready}
        """
    step = "use: lib.yaml#wait"

    assert problems(one_test(step, step), lib=groups) == [
        "lib.yaml:6:35: groups.wait.steps[0].wait-for.conditon: unknown field (used in spec.yaml:7); "
        'did you mean "condition"?'
    ]


def test_a_parameter_of_the_wrong_type_is_a_problem_of_its_use() -> None:
    groups = """\
        groups:
          nap:
            params: {time: {default: 1s}}
            steps:
            - sleep: "${{ params.time }}"
        """

    assert problems(one_test("use: lib.yaml#nap", "{use: lib.yaml#nap, with: {time: long}}"), lib=groups) == [
        "lib.yaml:7:14: groups.nap.steps[0].sleep: 'long' is not a duration; write it with a unit, such as 30s, 2m or 250ms "
        "(used in spec.yaml:8)"
    ]


def test_outputs_of_a_group_are_known_and_those_of_its_steps_are_not() -> None:
    groups = """\
        groups:
          echo:
            outputs: {said: "${{ outputs.lin }}"}
            steps:
            - {script: "echo x", outputs: {line: {jsonpath: "{.stdout}"}}}
            - script: "echo ${{ outputs.mine }}"
        """
    steps = (
        '{script: "echo x", outputs: {mine: {jsonpath: "{.stdout}"}}}', "use: lib.yaml#echo",
        'script: "echo ${{ outputs.said }} ${{ outputs.line }}"',
    )  # fmt: skip

    assert problems(one_test(*steps), lib=groups) == [
        'spec.yaml:9:13: tests[0].steps[2].script: outputs.line: no earlier step has an output "line"; did you mean "mine"?',
        'lib.yaml:5:21: groups.echo.outputs.said: outputs.lin: no earlier step has an output "lin"; did you mean "line"?',
        'lib.yaml:8:15: groups.echo.steps[1].script: outputs.mine: no earlier step has an output "mine"; did you mean "line"?',
    ]


def test_a_circle_of_groups_is_shown() -> None:
    one = 'groups: {a: {steps: [{use: "two.yaml#b"}]}}'
    two = 'groups: {b: {steps: [{use: "one.yaml#a"}]}}'

    assert problems(one_test("use: one.yaml#a"), one=one, two=two) == [
        "two.yaml:3:28: groups.b.steps[0].use: groups use each other in a circle: "
        "one.yaml#a → two.yaml#b → one.yaml#a (used in one.yaml:3) (used in spec.yaml:7)"
    ]


def test_a_circle_of_includes_is_shown() -> None:
    spec = "include: [one.yaml]\n" + one_test('script: "true"')

    assert problems(spec, one="include: [two.yaml]", two="include: [one.yaml]") == [
        "two.yaml:3:11: include[0]: files include each other in a circle: one.yaml → two.yaml → one.yaml"
    ]


def test_what_two_files_say_is_a_problem_with_both_places() -> None:
    one = 'vars: {a: 1}\ncomponents: [{name: web, manifests: [a.yaml]}]\ngroups: {g: {steps: [{script: "true"}]}}'
    spec = "include: [one.yaml, two.yaml]\nvars: {a: 2}\ncomponents:\n- {name: web, manifests: [a.yaml]}\n"

    Path("a.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")

    found = problems(spec + one_test('script: "true"'), one=one, two='groups: {g: {steps: [{script: "x"}]}}')

    assert found == [
        'spec.yaml:5:8: vars.a: there is another variable "a", in one.yaml:3',
        'spec.yaml:7:10: components[0].name: there is another component named "web", in one.yaml:4',
        'two.yaml:3:10: groups.g: there is another group "g", in one.yaml:5',
    ]


def test_problems_of_what_is_included_are_in_its_file() -> None:
    one = (
        'components: [{name: web, manifests: [missing.yaml]}]\nsetup: {steps: [{slep: 5s}]}\nvars: {a: "${{ vars.b }}"}'
    )
    spec = "include: [one.yaml]\ncomponents: [{name: X}]\nsetup: {steps: [{slip: 5s}]}\n"

    found = problems(spec + one_test('script: "${{ vars.a }}"'), one=one)

    assert found == [
        'spec.yaml:5:14: components[0]: missing field "manifests"',
        'spec.yaml:5:21: components[0].name: "X" is no name that Kubernetes takes: lower-case letters, digits and "-", at most 63',
        'spec.yaml:6:18: setup.steps[0].slip: unknown step type; did you mean "sleep"?',
        "one.yaml:3:38: components[0].manifests[0]: missing.yaml: no such file",
        'one.yaml:4:18: setup.steps[0].slep: unknown step type; did you mean "sleep"?',
        'one.yaml:5:11: vars.a: vars.b: there is no variable "b"',
    ]


def test_the_form_of_a_shared_file() -> None:
    one = "groups: {g: {step: []}}\ntests: []"

    assert problems("include: [one.yaml]\n" + one_test('script: "true"'), one=one) == [
        'one.yaml:3:10: groups.g: missing field "steps"',
        'one.yaml:3:14: groups.g.step: unknown field; did you mean "steps"?',
        "one.yaml:4:1: tests: unknown field",
    ]


def test_kinds_namespaces_and_clusters_of_a_group_are_checked_in_its_file() -> None:
    groups = """\
        groups:
          look:
            steps:
            - wait-for: {resource: deploymnt/web, exists: true}
            - assert: {resource: node/one, namespace: default, absent: true}
            - create: {object: {apiVersion: apps/v1, kind: Deploymnt, metadata: {name: web}}}
            - background: {id: waiting, run: {wait-for: {resource: sevice/web, exists: true}}}
            - stop: waiting
            - {use: "#deeper", cluster: here}
          deeper:
            steps:
            - {sleep: 1s, cluster: there}
            - {assert: {resource: gadget/one, absent: true}}
            - {apply: {file: crd.yaml}}
        """
    Path("crd.yaml").write_text(
        "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: gadgets.example.com},"
        " spec: {group: example.com, names: {kind: Gadget, plural: gadgets}, scope: Namespaced, versions: [{name: v1}]}}"
    )

    found = problems(one_test("use: lib.yaml#look") + "clusters: {here: {}, over: {}}\n", lib=groups)

    assert found == [
        'lib.yaml:6:28: groups.look.steps[0].wait-for.resource: there is no kind "deploymnt"; did you mean "deployment"?',
        "lib.yaml:7:36: groups.look.steps[1].assert.namespace: nodes have no namespaces; leave it out",
        'lib.yaml:8:52: groups.look.steps[2].create.object.kind: apps/v1 has no kind "Deploymnt"; did you mean "Deployment"?',
        'lib.yaml:9:60: groups.look.steps[3].background.run.wait-for.resource: there is no kind "sevice"; '
        'did you mean "service"?',
        'lib.yaml:14:28: groups.deeper.steps[0].cluster: there is no cluster "there"; did you mean "here"?',
    ]


def test_what_a_group_does_to_a_component_is_seen() -> None:
    Path("web.yaml").write_text("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: web}}")
    groups = "groups: {g: {steps: [{scale: {resource: deployment/web, namespace: web, replicas: 0}}]}}"

    found = problems(one_test("use: lib.yaml#g") + "components: [{name: web, manifests: [web.yaml]}]\n", lib=groups)

    assert len(found) == 1
    assert found[0].startswith(
        "lib.yaml:3:23: groups.g.steps[0].scale: deployment/web in web belongs to the component web"
    )
