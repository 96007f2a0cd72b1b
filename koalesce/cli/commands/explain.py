"""`koalesce explain`: what step types, sections and fields of a spec are, as the reference says."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from koalesce.spec.reference import FieldText, ModelText, Reference

NAME = "explain"
HELP = "explain step types and fields of a spec"
_EXAMPLES = """\
examples:
  koalesce explain                  all step types, and the sections of a spec
  koalesce explain curl             a step type
  koalesce explain curl.from.pods   a field of it
  koalesce explain cluster.nodes    a section of a spec
  koalesce explain steps            the fields that every step may have
"""
_WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to explain."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "what", nargs="?", metavar="NAME[.FIELD]", help="a step type or a section of a spec, and fields below it"
    )


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from koalesce.spec.reference import Reference

    reference = Reference()
    lines = _overview(reference) if args.what is None else _explained(reference, args.what)
    print("\n".join(lines))
    return 0


def _overview(reference: Reference) -> Iterator[str]:
    from koalesce.steps import STEPS

    yield "step types:"
    yield from _columns([(key, _first(reference.step(key).model.text)) for key in STEPS])
    yield "\nsections of a spec:"
    yield from _columns([(each.name, _first(each.text)) for each in reference.spec().fields])


def _explained(reference: Reference, what: str) -> Iterator[str]:
    from koalesce.cli.arguments import did_you_mean
    from koalesce.errors import UsageError
    from koalesce.steps import STEPS

    head = what.split(".")[0]
    models, path = _begun(reference, what)
    found: FieldText | None = None
    done = head
    for name in path:
        fields = {each.name: each for model in models for each in model.fields}
        if name not in fields:
            known = [*fields, *STEPS] if models == [reference.spec()] else list(fields)
            if done == head == name:
                where, hint = "neither a step type nor a section of a spec", "koalesce explain lists them"
            else:
                where, hint = f"not a field of {done}", f"koalesce explain {done} lists its fields"
            raise UsageError(f'"{name}" is {where}{did_you_mean(name, known)}', hint=hint)
        found = fields[name]
        done = name if done == head == name else f"{done}.{name}"
        models = _below(reference, found)
    if found is not None:
        yield f"{what}: {_plain(found.type)}{_default(found)}"
        yield from _wrapped(found.text, "  ")
    for model in models:
        yield from _model(model, named=found is not None)


def explainable(what: str) -> Iterator[str]:
    """What can be explained and begins as `what` does, up to its last dot: step types and sections, or the fields of one of them."""
    from koalesce.spec.reference import Reference
    from koalesce.steps import STEPS

    reference = Reference()
    parent, dot, _ = what.rpartition(".")
    if not dot:
        yield from (*STEPS, "steps", *(each.name for each in reference.spec().fields))
        return
    models, path = _begun(reference, parent)
    for name in path:
        found = next((each for model in models for each in model.fields if each.name == name), None)
        if found is None:
            return
        models = _below(reference, found)
    yield from (f"{parent}.{each.name}" for model in models for each in model.fields)


def _begun(reference: Reference, what: str) -> tuple[list[ModelText], list[str]]:
    """The models that a path begins in, and the names of fields that it has below them."""
    from koalesce.steps import STEPS

    head, *path = what.split(".")
    if head in STEPS:
        return [reference.step(head).model], path
    if head in ("step", "steps"):
        return [reference.common()], path
    return [reference.spec()], [head, *path]


def _below(reference: Reference, field: FieldText) -> list[ModelText]:
    """The models of what a field takes."""
    return [reference.common() if below == "Step" else reference.model(below) for below in field.models]


def _model(model: ModelText, *, named: bool) -> Iterator[str]:
    """Its text and its fields."""
    if named:
        yield f"\n{model.name}:"
    for paragraph in model.text.split("\n\n"):
        yield from _wrapped(paragraph, "  " if named else "")
    if model.fields:
        yield "\nfields:"
    for each in model.fields:
        yield f"  {each.name}: {_plain(each.type)}{_default(each)}"
        yield from _wrapped(each.text, "      ")
    if model.matches:
        yield "  and the operators of a matcher, such as equals, contains, matches, count"


def _default(each: FieldText) -> str:
    if each.required:
        return " (required)"
    return f" (default: {each.default})" if each.default else ""


def _plain(words: str) -> str:
    return words.replace("{", "").replace("}", "").replace("`", "")


def _first(text: str) -> str:
    return text.split("\n")[0].split(". ")[0].rstrip(".")


def _columns(rows: list[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        yield f"  {name:<{width}}  {text}"


def _wrapped(text: str, indent: str) -> list[str]:
    import textwrap

    return [
        line
        for part in text.split("\n")
        for line in textwrap.wrap(part, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    ]
