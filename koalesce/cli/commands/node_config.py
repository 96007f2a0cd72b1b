"""`koalesce node-config`: what a fresh machine is told at its first boot, so that the provider ssh can make it a node."""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path

NAME = "node-config"
HELP = "print what a fresh machine is told at its first boot"
_EXAMPLES = """\
examples:
  koalesce node-config --key ~/.ssh/id_ed25519.pub --hostname worker-1 > user-data     for cloud-init
  koalesce node-config --key ~/.ssh/id_ed25519.pub --format script > setup.sh          for a machine that runs already
  koalesce node-config --key ~/.ssh/id_ed25519.pub --format vagrant --nodes 3 > Vagrantfile
"""
_FORMATS = ("cloud-init", "ignition", "script", "vagrant")
_NETWORK = "192.168.56.0/24"  # where VirtualBox lets machines have addresses without further settings
_FIRST = 10
_MOST = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The form, the keys, and the machine's name, or how many there are."""
    parser.epilog = _EXAMPLES
    parser.add_argument("--format", choices=_FORMATS, default=_FORMATS[0], help="default: %(default)s")
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a public key that may log in; may be repeated",
    )
    parser.add_argument("--hostname", metavar="NAME", help="what the machine is called; default: as it is")
    parser.add_argument(
        "--nodes",
        type=int,
        default=1,
        metavar="N",
        help="how many machines a Vagrantfile is for (default: %(default)s)",
    )
    parser.add_argument(
        "--from",
        dest="description",
        type=Path,
        metavar="FILE",
        help="another description than the one that Koalesce brings",
    )


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from koalesce.errors import UsageError
    from koalesce.machines.boot import cloudinit, config, ignition, script, vagrant

    if not args.key:
        raise UsageError(
            "node-config: nobody could log in to such a machine",
            hint="name a public key: --key ~/.ssh/id_ed25519.pub; ssh-keygen -t ed25519 makes a pair",
        )
    description = config.load(args.description)
    keys = [key for path in args.key for key in _keys(path)]
    if args.format == "vagrant":
        if not 1 <= args.nodes <= _MOST:
            raise UsageError(f"node-config: a Vagrantfile is for 1 to {_MOST} machines")
        names = ["control-plane", *(f"worker-{number}" for number in range(1, args.nodes))]
        hosts = ipaddress.ip_network(_NETWORK)
        machines = {
            str(hosts[_FIRST + at]): description.opened_by(keys, hostname=name) for at, name in enumerate(names)
        }
        print(vagrant.render(machines), end="")
        return 0
    render = {"cloud-init": cloudinit.render, "ignition": ignition.render, "script": script.render}[args.format]
    print(render(description.opened_by(keys, hostname=args.hostname)), end="")
    return 0


def _keys(path: Path) -> list[str]:
    """The lines of a file of public keys."""
    from koalesce.errors import UsageError

    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"node-config: {path}: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
