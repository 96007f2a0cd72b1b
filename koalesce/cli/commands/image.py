"""`koalesce image build|import|pull|export|list|remove`: the images that clusters on this machine can run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from koalesce.cli.stopping import Stop
    from koalesce.toolchain import Toolchain
    from koalesce.toolchain.images import StoredImage

NAME = "image"
HELP = "build, import and list images for clusters"
_EXAMPLES = """\
examples:
  koalesce image build images/router.yaml
  koalesce image import build/router.tar docker.io/x/router:dev
  koalesce image pull docker.io/cloudnativelabs/kube-router:v2.10.0
  koalesce image list
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One command each."""
    parser.epilog = _EXAMPLES
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    build = commands.add_parser("build", help="build the image of a definition, without Docker", allow_abbrev=False)
    build.add_argument("definition", metavar="FILE", type=Path, help="a YAML file of kind Image")
    build.add_argument(
        "--output", metavar="ARCHIVE", type=Path, help="also write it to an archive, for `docker load` and others"
    )
    load = commands.add_parser("import", help="add the images of an archive", allow_abbrev=False)
    load.add_argument(
        "archive", metavar="ARCHIVE", type=Path, help="from `docker save`, or an OCI layout (tar or folder)"
    )
    load.add_argument("ref", metavar="REF", nargs="?", help="the name that the archive's image gets")
    pull = commands.add_parser("pull", help="fetch images from their registries", allow_abbrev=False)
    pull.add_argument("refs", metavar="REF", nargs="+")
    export = commands.add_parser("export", help="write an image to an archive", allow_abbrev=False)
    export.add_argument("ref", metavar="REF")
    export.add_argument("output", metavar="ARCHIVE", type=Path)
    commands.add_parser("list", help="list the images of this machine", allow_abbrev=False)
    remove = commands.add_parser("remove", help="remove images", allow_abbrev=False)
    remove.add_argument("refs", metavar="REF", nargs="+")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    from koalesce.cli.stopping import Stop
    from koalesce.toolchain import Toolchain

    stop = Stop()
    with stop.on_signals():
        _act(args, Toolchain(progress=lambda line: print(line, file=sys.stderr), cancel=stop.cancel), stop)
    return 0


def _act(args: argparse.Namespace, toolchain: Toolchain, stop: Stop) -> None:
    from koalesce.errors import UsageError
    from koalesce.spec.project import project_root
    from koalesce.toolchain.export import export

    store = toolchain.images
    match args.action:
        case "build":
            ref = toolchain.build_image(args.definition, root=project_root(args.definition.parent))
            if args.output:
                export(store, ref, args.output)
            print(ref)
        case "import":
            print("\n".join(store.add_archive(args.archive, args.ref)))
        case "pull":
            for ref in args.refs:
                print(store.pull(ref, progress=lambda line: print(line, file=sys.stderr), cancel=stop.cancel))
        case "export":
            export(store, args.ref, args.output)
        case "list":
            _print(store.images())
        case "remove":
            for ref in args.refs:
                if not store.remove(ref):
                    raise UsageError(f"{store.normalize(ref)} is not in the image store", hint="koalesce image list")


def _print(images: list[StoredImage]) -> None:
    width = max((len(image.ref) for image in images), default=0)
    for image in images:
        print(f"{image.ref:<{width}}  {image.descriptor.digest[7:19]}  {image.source.partition(' sha256:')[0]}")
