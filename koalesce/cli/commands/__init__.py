"""The commands, one module each; the table here is all that `koalesce --help` reads.

A module has `NAME`, `HELP`, `add_arguments(parser)` and `run(args) -> int`, and imports what is heavy inside `run`.
"""

from __future__ import annotations

import argparse
import importlib
from typing import NamedTuple, Protocol, cast


class Command(Protocol):
    """What a command's module has."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare flags and arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit code."""


class Entry(NamedTuple):  # `dataclasses` would double the time of --help
    """A command's place in the table. `hidden`: for Koalesce itself, left out of the help."""

    help: str
    hidden: bool = False


COMMANDS: dict[str, Entry] = {
    "clean": Entry("forget results that are used again"),
    "clusters": Entry("list the clusters that are up"),
    "complete": Entry("offer words for a command line, one a line", hidden=True),
    "completion": Entry("print what makes a shell complete commands, flags, specs, tests and clusters"),
    "config": Entry("show the settings, and where each came from"),
    "contract": Entry(
        "check that the Terraform roots of cluster providers keep the contract, or write what they have of it"
    ),
    "doctor": Entry("tell what this machine has and lacks for local clusters"),
    "down": Entry("destroy clusters that are up"),
    "explain": Entry("explain step types and fields of a spec"),
    "image": Entry("build, import and list images for clusters"),
    "init": Entry("write a first spec that passes, settings, and a CI workflow; or a new cluster provider"),
    "kubeconfig": Entry("take and leave clusters that exist, and run commands on their nodes", hidden=True),
    "list": Entry("list specs and their tests"),
    "local": Entry("make and keep clusters on this machine", hidden=True),
    "logs": Entry("show the logs of the components on a cluster's nodes"),
    "machines": Entry("make and remove clusters on machines that are reached by SSH", hidden=True),
    "node-config": Entry("print what a fresh machine is told at its first boot"),
    "output": Entry("show the outputs of a cluster's Terraform root"),
    "pki": Entry("make the keys and certificates of a cluster", hidden=True),
    "plan": Entry("show the steps that a run would take, and Terraform's plan of its clusters"),
    "report": Entry("make reports of a run from its events"),
    "reset": Entry("bring a kept cluster back to its first state"),
    "run": Entry("run specs on temporary clusters"),
    "schema": Entry("print the JSON schema of specs, or of files with step groups"),
    "ssh": Entry("run a command, or a shell, on a node of a cluster or a fixture"),
    "step": Entry("run one step on a cluster that is up"),
    "sweep": Entry("remove what dead runs left"),
    "toolchain": Entry("list, prepare and add versions of the tools that clusters need"),
    "up": Entry("make the cluster of a spec and keep it"),
    "validate": Entry("check specs without running anything"),
    "version": Entry("print the version of Koalesce and of what it runs on"),
    "vms": Entry("make and remove clusters of virtual machines", hidden=True),
    "watch": Entry("run a spec again whenever its files change, on a cluster that stays up"),
}


def load(name: str) -> Command:
    """The module of a command of the table."""
    module = name.replace("-", "_")
    return cast(Command, importlib.import_module(f"{__name__}.{module}"))
