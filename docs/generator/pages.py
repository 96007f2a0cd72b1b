"""The pages: what each has, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from docs.generator.command_line import command_line
from docs.generator.matchers import matchers
from docs.generator.models import described, sections
from koalesce.capabilities import CAPABILITIES
from koalesce.reporters import event_schema
from koalesce.spec.reference import Reference, StepText
from koalesce.spec.schema import KINDS, schema_text
from koalesce.steps import STEPS
from koalesce.terraform.writing import written

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
EXAMPLES = ROOT / "docs" / "examples"

_MARK = "<!-- Written by `python -m docs.generator` from the code; changes belong there. -->"
_KINDS = {
    "action": "An action: it's done once; only answers of an API server that isn't ready yet are tried again.",
    "assertion": "An assertion: unless it's said otherwise above, it's looked at until it holds, or until its `timeout`.",
    "background": "It goes on while later steps run, and ends with its test or by a `stop`.",
    "course": "A course: it makes one change after the other, and looks at each of them until it has taken effect, or its time is over.",
    "group": "It stands for other steps.",
}


def pages() -> Mapping[Path, str]:
    """All that is generated, pages, schemas and the shared parts of Terraform roots, by the files that they go to."""
    reference = Reference()
    found = {
        REFERENCE / "README.md": _index(reference),
        REFERENCE / "common-fields.md": _common(reference),
        REFERENCE / "spec.md": _spec(reference),
        REFERENCE / "step-groups.md": _groups(reference),
        REFERENCE / "matchers.md": _joined(matchers(reference)),
        REFERENCE / "command-line.md": _joined(command_line()),
    }
    found |= {ROOT / "schemas" / f"{kind}.schema.json": schema_text(kind) for kind in KINDS}
    found[ROOT / "schemas" / "events.schema.json"] = event_schema.schema_text()
    for root in sorted((ROOT / "terraform").iterdir()):
        found |= written(root)
    return found | {REFERENCE / "steps" / f"{key}.md": _step(reference, key) for key in STEPS}


def _joined(parts: Iterator[str]) -> str:
    return "\n\n".join([_MARK, *parts]) + "\n"


_INDEX = """\
# Reference

- [A spec](spec.md): its sections, from `cluster` to `tests`
- [Step groups](step-groups.md): files of steps, components and setup that several specs share
- [Fields of every step](common-fields.md): name, time, conditions, outputs
- [Matchers](matchers.md): what a value must be like
- [Expressions](expressions.md): `${{ … }}`
- [Command line](command-line.md) and [exit codes](exit-codes.md)

## Steps

A step has exactly one of these types. Each page has a spec as its example, which is run as a test. `koalesce explain` shows the same in the terminal.
"""


def _index(reference: Reference) -> str:
    rows = ["| step | kind | |", "|---|---|---|"]
    for key in STEPS:
        step = reference.step(key)
        rows.append(f"| [`{key}`](steps/{key}.md) | {step.kind} | {_first_sentence(step)} |")
    return _joined(iter([_INDEX.rstrip(), "\n".join(rows)]))


def _first_sentence(step: StepText) -> str:
    first = step.model.text.split("\n")[0]
    return first.split(". ")[0].rstrip(".").replace("|", "\\|") + "."


def _common(reference: Reference) -> str:
    model = reference.common()

    def parts() -> Iterator[str]:
        yield "# Fields of every step"
        yield "These stand beside the step's type. At most one of `stableFor`, `consistently` and `never` may be given, and `expectFailure` only on actions."
        yield from list(described(model, root=""))[1:]
        yield from sections(reference.below([model]), level=2, root="")
        yield "## Capabilities"
        yield "What `requires` and the `capability` of `if` may name; `${{ cluster.capabilities }}` are those of the cluster."
        yield "\n".join(
            ["| capability | |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in CAPABILITIES.items())]
        )

    return _joined(parts())


def _spec(reference: Reference) -> str:
    model = reference.spec()

    def parts() -> Iterator[str]:
        yield "# A spec"
        yield from described(model, root="")
        yield from sections(reference.below([model]), level=2, root="")

    return _joined(parts())


_GROUPS = """\
Such a file is no spec: nothing runs it by itself. A test takes one of its groups by [`use`](steps/use.md), a spec all the rest by [`include`](spec.md).

- A group's steps know their `${{ params.NAME }}`, what the whole test knows, and each other's outputs; nothing of the steps around `use`.
- A parameter with a `default` may be left out, one without (`NAME:` alone) has to be given by `with`.
- `FILE#NAME` is a group of a file, `#NAME` one of the same file or of a file that the spec includes. Groups may use groups, in no circle.
- Paths in the file are relative to it.

Editors complete it by a first line `# yaml-language-server: $schema=PATH/steps.schema.json`; `koalesce schema steps` prints that schema."""


def _groups(reference: Reference) -> str:
    model = reference.groups()

    def parts() -> Iterator[str]:
        yield "# Step groups"
        yield from list(described(model, root=""))[:1]
        yield _GROUPS
        yield "## Fields"
        yield from list(described(model, root=""))[1:]
        yield from sections(reference.below([model], without=("Component",)), level=3, root="")
        yield "## Example"
        yield "[docs/examples/shared/steps.yaml](../examples/shared/steps.yaml), which [docs/examples/use.yaml](../examples/use.yaml) uses:"
        yield f"```yaml\n{(EXAMPLES / 'shared' / 'steps.yaml').read_text(encoding='utf-8').rstrip()}\n```"

    return _joined(parts())


def _step(reference: Reference, key: str) -> str:
    step = reference.step(key)

    def parts() -> Iterator[str]:
        yield f"# `{key}`"
        yield from step.model.text.split("\n\n")
        yield f"{_KINDS[step.kind]} Beside it may stand the [fields of every step](../common-fields.md)."
        if step.short:
            yield f"A bare value stands for `{step.short}`."
        yield "## Fields"
        yield from list(described(step.model, root="../"))[1:]
        yield from sections(reference.below([step.model]), level=3, root="../")
        yield from _example(key)

    return _joined(parts())


def _example(key: str) -> Iterator[str]:
    path = EXAMPLES / f"{key}.yaml"
    if path.is_file():
        yield "## Example"
        yield f"[docs/examples/{key}.yaml](../../examples/{key}.yaml):"
        yield f"```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```"
