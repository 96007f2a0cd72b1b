"""`koalesce toolchain list|prepare|add|path`: the binaries that clusters on this machine are made of."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from koalesce.toolchain import Toolchain

NAME = "toolchain"
HELP = "list, prepare and add versions of the tools that clusters need"
_EXAMPLES = """\
examples:
  koalesce toolchain list            where each tool is, or how it would be had
  koalesce toolchain prepare 1.36    download or build all that clusters of this version need
  koalesce toolchain add 1.36.1      support another version
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One command each."""
    parser.epilog = _EXAMPLES
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    listing = commands.add_parser(
        "list", help="show each tool: where it is, or how it would be had", allow_abbrev=False
    )
    prepare = commands.add_parser(
        "prepare", help="download or build everything that a cluster needs", allow_abbrev=False
    )
    for command in (listing, prepare):
        command.add_argument(
            "version", metavar="VERSION", nargs="?", default="", help="of Kubernetes; default: the newest"
        )
    add = commands.add_parser("add", help="support another version of Kubernetes", allow_abbrev=False)
    add.add_argument("version", metavar="VERSION", help="1.36.3, or 1.36 for its newest")
    path = commands.add_parser(
        "path", help="print the folder of a tool's binaries; makes them if need be", allow_abbrev=False
    )
    path.add_argument("tool", metavar="TOOL", help="kubernetes, etcd, containerd, …")
    path.add_argument("version", metavar="VERSION", nargs="?", default="", help="default: the usual one")
    plugin = commands.add_parser(
        "plugin", help="build a plugin of Terraform's, and keep it for when there is no registry", allow_abbrev=False
    )
    plugin.add_argument("name", metavar="NAME", help="hcloud")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    from koalesce.cli.stopping import Stop
    from koalesce.toolchain import Toolchain
    from koalesce.toolchain.system import ROUTERS

    stop = Stop()
    with stop.on_signals():
        toolchain = Toolchain(progress=lambda line: print(line, file=sys.stderr), cancel=stop.cancel)
        match args.action:
            case "list":
                _list(toolchain, args.version)
            case "prepare":
                version = toolchain.resolve_version(args.version)
                toolchain.local_cluster(version, dns="coredns", routers=ROUTERS)
                print(f"everything is there for clusters of Kubernetes {version}")
            case "add":
                print(f"Kubernetes {toolchain.add(args.version)} is supported now")
            case "path":
                print(toolchain.path(args.tool, args.version))
            case "plugin":
                print(_plugin(toolchain, args.name))
    return 0


def _plugin(toolchain: Toolchain, name: str) -> Path:
    from koalesce.terraform.trying import plugin_mirror
    from koalesce.toolchain import plugins

    return plugins.install(name, plugin_mirror(), toolchain)


def _list(toolchain: Toolchain, version: str) -> None:
    wanted = toolchain.resolve_version(version)
    others = [other for other in toolchain.supported() if other != wanted]
    print(f"Kubernetes {wanted}" + (f" (also supported: {', '.join(others)})" if others else ""))
    for state in toolchain.states(wanted):
        where = f"{state.source}: {state.folder}" if state.folder else f"not there; plan: {state.plan}"
        print(f"  {state.tool:<14} {state.version:<8} {where}")
    print("A download needs a pinned checksum; `koalesce toolchain add VERSION` records those that publishers give.")
    print("KOALESCE_TOOL_<NAME>=FOLDER (KOALESCE_TOOL_ETCD, …) names binaries of your own.")
