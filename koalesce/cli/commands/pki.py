"""`koalesce pki`: makes the keys and certificates of a cluster in a folder. Called by Terraform roots."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "pki"
HELP = "make the keys and certificates of a cluster"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A folder, and whom the certificates are for."""
    parser.add_argument("folder", type=Path, help="where to put them; what was made there for the same names is kept")
    parser.add_argument(
        "--node",
        action="append",
        default=[],
        metavar="NAME[=ADDRESS,...]",
        help="a node, and the addresses that its kubelet serves on; may be repeated",
    )
    parser.add_argument(
        "--api-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address of the API server; may be repeated",
    )
    parser.add_argument(
        "--etcd-name", action="append", default=[], metavar="NAME", help="a name or address of etcd; may be repeated"
    )


def run(args: argparse.Namespace) -> int:
    """Make them, or find them made."""
    from koalesce import pki

    nodes = {}
    for text in args.node:
        name, _, addresses = text.partition("=")
        nodes[name] = [address for address in addresses.split(",") if address]
    local = ["localhost", "127.0.0.1"]
    request = pki.PkiRequest(nodes=nodes, api_names=[*local, *args.api_name], etcd_names=[*local, *args.etcd_name])
    pki.create(args.folder, request)
    return 0
