"""What the documentation shows is right: specs and parts of them are valid, commands have these flags, Python is Python."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from koalesce.cli.arguments import Parser
from koalesce.cli.commands import COMMANDS, load
from koalesce.cli.main import main
from koalesce.errors import UsageError
from koalesce.providers import BUILT_IN
from koalesce.providers.cloud import cloud
from koalesce.providers.machine_list import of_settings
from koalesce.spec import load_all
from koalesce.spec.models import Spec
from koalesce.spec.reference import Reference
from koalesce.steps import STEPS
from tests.doc_blocks import ROOT, Block, blocks, inline, pages

ALL = [block for page in pages() for block in blocks(page)]
_HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: fragment}\n"
_SECTIONS = {field.alias or name for name, field in Spec.model_fields.items()}
_COMMON = {field.name for field in Reference().common().fields}
_NAMED = re.compile(r"\b(?:file|archive|ca|cert|key): ([\w./-]+\.(?:yaml|tar|crt|key))")
_MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stands-for-another}\n"
_FLAGS_OF_OTHERS = {
    *("-d", "-s", "--cgroupns", "--security-opt"),  # iptables, docker
    *(
        "--bgp-graceful-restart",
        "--enable-pod-egress",
        "--netpol-default-deny",
        "--routes-sync-period",
        "--use-nftables-for-netpol",
    ),  # kube-router
    *("-k", "-m", "-x", "--deselect", "--dist", "--koalesce-cluster", "--lf"),  # pytest and its plugins
}
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
        _check_settings(shown)
        return
    monkeypatch.chdir(tmp_path)
    for name in _NAMED.findall(text):
        _write(tmp_path, name, _MANIFEST)
    for other in blocks(block.page):  # files that it names are those that the page shows, if it does
        if other.file:
            _write(tmp_path, other.file, other.text)
    path = _write(tmp_path, block.file or "fragment.yaml", text)

    load_all([path], providers=sorted(BUILT_IN))


def _check_settings(shown: Mapping[str, Any]) -> None:
    """A list of machines, or settings of clouds, is one."""
    if "machines" in shown:
        of_settings(shown)
    for name in {"aws", "digitalocean", "hcloud", "latitudesh"} & shown.keys():
        cloud(name).read(shown[name])


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_commands_have_the_flags_that_are_shown(block: Block) -> None:
    for words in block.commands:
        if words[0] == "koalesce":
            _check_command(block, words[1:])


@pytest.mark.parametrize("page", [*pages(), *sorted(ROOT.glob("terraform/*/README.md"))], ids=str)
def test_commands_in_sentences_are_there_and_have_these_flags(page: Path) -> None:
    here = Block(page=page, line=0, language="sh", text="")
    for code in inline(page):
        if code.startswith("koalesce ") and "…" not in code:
            _check_command(here, shlex.split(re.sub(r"[\[\]]", "", code.partition(" > ")[0]))[1:], is_whole=False)


@pytest.mark.parametrize("page", pages(), ids=str)
def test_flags_in_sentences_are_there(page: Path) -> None:
    named = {code.split()[0].partition("=")[0] for code in inline(page) if re.match("--?[a-z]", code)}

    assert named - _flags() - _FLAGS_OF_OTHERS == set()


@cache
def _flags() -> set[str]:
    """All flags of all commands."""
    found: set[str] = set()
    parsers: list[argparse.ArgumentParser] = []
    for name in COMMANDS:
        parsers.append(Parser(name))
        load(name).add_arguments(parsers[-1])
    for parser in parsers:  # grows meanwhile by commands of commands
        for action in parser._actions:
            found |= set(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    return found


@pytest.mark.parametrize("file", [".github/workflows/koalesce.yaml", ".gitlab-ci.yml"])
def test_workflows_are_those_that_init_writes(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in blocks(ROOT / "docs" / "how-to" / "ci.md") if block.file == file)

    assert main(["init", "--name", "web", "--ci", "both"]) == 0

    assert written(block) == YAML(typ="safe", pure=True).load(Path(file))
    commands = re.findall(r"^ +(?:- )?koalesce (.+)$", block.text, re.MULTILINE)
    assert commands
    for command in commands:
        _check_command(block, shlex.split(command))


def _check_command(block: Block, words: list[str], *, is_whole: bool = True) -> None:
    """The flags of `koalesce WORDS` are there; what isn't whole may lack arguments."""
    name, *rest = words or ["--help"]
    if name.startswith("-"):
        return
    assert name in COMMANDS, f"{block}: koalesce {name}"
    command = load(name)
    parser = Parser(f"koalesce {name}", command.HELP)
    command.add_arguments(parser)
    parser.add_argument("--debug", action="store_true")
    try:
        parser.parse(rest)
    except UsageError as error:
        if is_whole or not re.search("arguments are required|expected one argument", str(error)):
            pytest.fail(f"{block}: koalesce {' '.join(words)}: {error}")


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
