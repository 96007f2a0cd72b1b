"""What the documentation shows is right: specs and parts of them are valid, commands have these flags, Python is Python."""

from __future__ import annotations

import argparse
import ast
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from koalesce.cli.arguments import Parser
from koalesce.cli.commands import COMMANDS, load
from koalesce.errors import UsageError
from koalesce.providers import BUILT_IN
from koalesce.spec import load_all
from koalesce.spec.models import Spec
from koalesce.spec.reference import Reference
from koalesce.steps import STEPS
from tests.doc_blocks import ROOT, Block, blocks, pages

ALL = [block for page in pages() for block in blocks(page)]
_HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: fragment}\n"
_SECTIONS = {field.alias or name for name, field in Spec.model_fields.items()}
_COMMON = {field.name for field in Reference().common().fields}
_NAMED = re.compile(r"\b(?:file|archive|ca|cert|key): ([\w./-]+\.(?:yaml|tar|crt|key))")
_INLINE = re.compile(r"`(?:sudo )?koalesce ([^`\n]+)`")
_MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stands-for-another}\n"
_FOREIGN = (
    "jobs",
    "on",
    "stages",
    "koalesce",
    "machines",
    *BUILT_IN,
)  # workflows of CI systems, lists of machines, settings of providers


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]


def written(block: Block) -> Any:
    first, *_ = YAML(typ="safe", pure=True).load_all(block.text)
    return first


def whole(block: Block) -> str:
    """A spec that has what the block shows; nothing for what isn't of a spec."""
    shown = written(block)
    if isinstance(shown, dict) and str(shown.get("apiVersion", "")).startswith("koalesce.dev/"):
        return block.text
    if isinstance(shown, dict) and set(shown) & set(STEPS) and set(shown) <= {*STEPS, *_COMMON}:
        return whole(replace(block, text="- " + block.text.replace("\n", "\n  ").rstrip() + "\n"))
    if isinstance(shown, list):
        lines = "".join(f"      {line}\n" for line in block.text.splitlines())
        return f"{_HEAD}tests:\n  - name: t\n    disruptive: true\n    steps:\n{lines}"
    if isinstance(shown, dict) and set(shown) <= _SECTIONS:
        tests = "" if "tests" in shown else "tests: []\n"
        return f"{_HEAD}{tests}{block.text}"
    return ""


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_specs_and_parts_of_them_are_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = whole(block)
    if not text:
        shown = written(block)
        assert isinstance(shown, dict), f"{block}: neither a part of a spec nor a document"
        assert block.is_fields or "apiVersion" in shown or set(shown) & set(_FOREIGN), (
            f"{block}: unknown: {sorted(shown)}"
        )
        return
    monkeypatch.chdir(tmp_path)
    for name in _NAMED.findall(text):
        _write(tmp_path, name, _MANIFEST)
    for other in blocks(block.page):  # files that it names are those that the page shows, if it does
        if other.file:
            _write(tmp_path, other.file, other.text)
    path = _write(tmp_path, block.file or "fragment.yaml", text)

    load_all([path], providers=sorted(BUILT_IN))


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_commands_have_the_flags_that_are_shown(block: Block) -> None:
    for words in block.commands:
        if words[0] != "koalesce":
            continue
        name, *rest = words[1:] or ["--help"]
        if name.startswith("-"):
            continue
        assert name in COMMANDS, f"{block}: koalesce {name}"
        command = load(name)
        parser = Parser(f"koalesce {name}", command.HELP)
        command.add_arguments(parser)
        parser.add_argument("--debug", action="store_true")
        try:
            parser.parse(rest)
        except UsageError as error:
            pytest.fail(f"{block}: koalesce {' '.join(words[1:])}: {error}")


@pytest.mark.parametrize(
    "page", [*pages(), *sorted(ROOT.glob("terraform/*/README.md"))], ids=lambda page: str(page.relative_to(ROOT))
)
def test_commands_that_sentences_name_are_there_with_their_flags(page: Path) -> None:
    """As in a table that says how each thing is seen; what stands for something, and what follows a node's name, may be anything."""
    for shown in _INLINE.findall(page.read_text(encoding="utf-8")):
        name, *rest = re.sub(r"[\[\]…]", " ", shown).split() or ["--help"]
        if name == name.upper():
            continue
        assert name in COMMANDS, shown
        parser = Parser(f"koalesce {name}", COMMANDS[name].help)
        load(name).add_arguments(parser)
        rest = rest[:2] if name == "ssh" else rest
        known = {*_flags(parser), "--debug", "--help"}
        assert [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known] == [], shown


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Those of a parser, and of the parsers of its own commands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _flags(below)


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_files_of_this_repository_that_commands_name_are_there(block: Block) -> None:
    shown = {other.file for other in blocks(block.page)}
    for words in block.commands:
        for word in words[1:]:
            if words[0] == "koalesce" and word.startswith(("specs/", "docs/", "tests/")) and "*" not in word:
                assert word in shown or _is_made_up(word) or (ROOT / word).exists(), f"{block}: there is no {word}"


def _is_made_up(word: str) -> bool:
    """Names that stand for a user's own."""
    return Path(word).stem in ("a", "b", "web", "my-cni", "dns")


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_is_python_and_imports_what_is_there(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "koalesce":
            module = __import__(str(node.module), fromlist=["*"])
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_toml_is_toml(block: Block) -> None:
    tomllib.loads(block.text)


def test_blocks_say_what_they_are() -> None:
    known = {"yaml", "sh", "python", "toml", "ini", "text", "json", "terraform", "hcl"}

    assert [
        str(block)
        for block in ALL
        if block.language not in known and "toctree" not in block.text[:80] and block.language
    ] == []


def _write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Path(os.path.relpath(path, root))
