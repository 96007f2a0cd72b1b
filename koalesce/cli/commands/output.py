"""`koalesce output`: what Terraform tells of a cluster that is up."""

from __future__ import annotations

import argparse

NAME = "output"
HELP = "show the outputs of a cluster's Terraform root"
_EXAMPLES = """\
examples:
  koalesce output dev                       all of them, as `terraform output` shows them
  koalesce output dev kubeconfig_path       one: a text as it is, all else as JSON
  koalesce output dev --json | jq '.nodes[].address'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of which cluster, and which."""
    parser.epilog = _EXAMPLES
    parser.add_argument("name", metavar="NAME", help="name of a cluster, as `koalesce clusters` shows it")
    parser.add_argument("output", metavar="OUTPUT", nargs="?", help="name of an output (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON: an object of all, or the value of one")


def run(args: argparse.Namespace) -> int:
    """Print them."""
    import json

    from koalesce.cli import exit_codes
    from koalesce.errors import UsageError
    from koalesce.providers.roots import outputs_of
    from koalesce.providers.sweeping import find
    from koalesce.reporters.text import inert

    found = outputs_of(find(args.name))
    if args.output is None:
        all_of_them = json.dumps(found, indent=2) if args.json else _listed(found)
        print(inert(all_of_them))
        return exit_codes.PASSED
    if args.output not in found:
        raise UsageError(f'there is no output "{args.output}"', hint=f"there are: {', '.join(sorted(found))}")
    value = found[args.output]
    print(inert(value if isinstance(value, str) and not args.json else json.dumps(value, indent=2)))
    return exit_codes.PASSED


def _listed(outputs: dict[str, object]) -> str:
    """A line for each, as Terraform has them; what has parts is indented."""
    import json

    return "\n".join(f"{name} = {json.dumps(value, indent=2)}" for name, value in sorted(outputs.items()))
