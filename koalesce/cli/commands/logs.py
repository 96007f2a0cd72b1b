"""`koalesce logs`: what the components on a cluster's nodes have written, on one axis of time."""

from __future__ import annotations

import argparse

from koalesce.cli.arguments import duration, positive

NAME = "logs"
HELP = "show the logs of the components on a cluster's nodes"
_EXAMPLES = """\
examples:
  koalesce logs dev                           all components of all nodes, in the order of time
  koalesce logs dev worker-1 kubelet          one log, without anything before its lines
  koalesce logs dev all kubelet --since 5m    the kubelets of all nodes, the last five minutes
  koalesce logs dev control-plane -f --tail 5
  koalesce logs dev e1 etcd                   a member of etcd, or what makes a router one, on a fixture
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which logs, and how much of them."""
    parser.epilog = _EXAMPLES
    parser.add_argument("name", metavar="NAME", help="name of a cluster, as `koalesce clusters` shows it")
    parser.add_argument(
        "node",
        metavar="NODE",
        nargs="?",
        default="all",
        help="name of a node, or of a fixture that runs something (default: all of them)",
    )
    parser.add_argument(
        "component",
        metavar="COMPONENT",
        nargs="?",
        help="kubelet, containerd, etcd, … (default: all that the node has)",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is added, until ^C")
    parser.add_argument("--since", metavar="DURATION", type=duration, help="only what is younger, such as 5m")
    parser.add_argument("--tail", metavar="N", type=positive, help="only the last lines of each log")


def run(args: argparse.Namespace) -> int:
    """Print them; a log that can't be read is told of beside the output, and makes the command fail at its end."""
    from koalesce.cli.log_view import show
    from koalesce.cli.node_logs import chosen
    from koalesce.providers.roots import logging_machines
    from koalesce.providers.sweeping import find

    logs = chosen(args.name, logging_machines(find(args.name)), args.node, args.component)
    for log in logs if args.follow else ():
        log.check_followed()
    return show(logs, since=args.since, tail=args.tail, follow=args.follow)
