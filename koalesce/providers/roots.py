"""Copies of Terraform roots: where they are, what is in them, and the clusters that their outputs tell of."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from koalesce.capabilities import with_implied
from koalesce.cluster import Cluster, ClusterRequest, FaultService, Fixture, Machine, Node
from koalesce.errors import ProvisionError
from koalesce.kube import Kube
from koalesce.local.ledger import Entry, Ledger
from koalesce.terraform.client import LOG_FILE, VARIABLES_FILE, Terraform, write_variables
from koalesce.terraform.contract import check_outputs

_STATE_FILE = "terraform.tfstate"
_OURS = ("*.tf", "*.tfstate*", ".terraform*", VARIABLES_FILE, LOG_FILE)
_KEY = "terraform"  # of an entry's session: where the copy of the root is


def default_folder(ledger: Ledger, name: str) -> Path:
    """Where the copy of a root lies unless it was said otherwise: beside the ledger."""
    return ledger.folder.parent / "terraform" / name


def copies(ledger: Ledger) -> Iterator[Path]:
    """The copies that lie there; what else may be there is left out."""
    for folder in default_folder(ledger, ".").glob("*"):
        if folder.is_dir():
            names = {path.name for path in folder.iterdir()}
            if VARIABLES_FILE in names or names <= {LOG_FILE}:
                yield folder


def is_log_only(folder: Path) -> bool:
    """Whether nothing is left of a copy but the log of an apply that failed."""
    return [path.name for path in folder.iterdir()] == [LOG_FILE]


def log_of(folder: Path) -> Path:
    """All that Terraform said in a copy."""
    return folder / LOG_FILE


def note(folder: Path) -> dict[str, str]:
    """What a ledger entry's `session` says of the copy."""
    return {_KEY: str(folder)}


def made_with(entry: Entry) -> dict[str, Any] | None:
    """The Terraform variables that a cluster was made with; None if plain Terraform made it, in a folder that we don't know."""
    root = folder_of(entry)
    if root is None or not (root / VARIABLES_FILE).is_file():
        return None
    found: dict[str, Any] = json.loads((root / VARIABLES_FILE).read_text(encoding="utf-8"))
    return found


def folder_of(entry: Entry) -> Path | None:
    """The copy that a cluster was made from; None if plain Terraform made it."""
    return Path(entry.session[_KEY]) if entry.session.get(_KEY) else None


def has_state(folder: Path) -> bool:
    """Whether Terraform has begun to make something from this copy."""
    return (folder / _STATE_FILE).exists()


def known_ids(folder: Path) -> frozenset[str]:
    """The IDs of all that Terraform's state knows; none where it can't be read, which Terraform will complain of."""
    try:
        state = json.loads((folder / _STATE_FILE).read_text(encoding="utf-8"))
        instances = [each for resource in state["resources"] for each in resource["instances"]]
        return frozenset(str(each["attributes"].get("id", "")) for each in instances if each.get("attributes"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return frozenset()


def copy(source: Path, folder: Path) -> None:
    """Copy a provider's Terraform root into a folder that only we may look into."""
    if not source.is_dir():
        raise ProvisionError(
            f"the files of the cluster provider are incomplete: there is no {source}",
            hint="install Koalesce, or the package that brings the provider, again",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / LOG_FILE).unlink(missing_ok=True)  # of an earlier cluster of this name
    write_variables(folder, {})  # from now on it's told from what somebody else has put there
    for file in sorted(source.glob("*.tf")):
        shutil.copyfile(file, folder / file.name)


def remove(folder: Path, *, keep_log: bool) -> None:
    """Remove a copy with its state and variables, and nothing else; the log of an apply that failed may stay."""
    for path in [path for pattern in _OURS for path in folder.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif not (keep_log and path.name == LOG_FILE):
            path.unlink(missing_ok=True)  # two patterns may find it
    with contextlib.suppress(OSError):  # it doesn't exist, or holds the log or something of others
        folder.rmdir()


def cluster_of(request: ClusterRequest, outputs: Mapping[str, Any], faults: FaultService | None) -> Cluster:
    """The cluster that a root's outputs (which keep the contract) tell of; `faults` is what its provider can do to it."""
    kubeconfig = Path(outputs["kubeconfig_path"])
    return Cluster(
        name=request.name,
        provider=request.provider,
        kubernetes=request.kubernetes,
        nodes=tuple(_node(entry) for entry in outputs["nodes"]),
        kubeconfig=kubeconfig,
        kube=Kube(kubeconfig),
        dns_ip=outputs["dns_ip"],
        capabilities=with_implied(outputs["capabilities"]),
        pod_cidr=request.pod_cidr,
        service_cidr=request.service_cidr,
        fixtures=_fixtures(outputs),
        host_exec=tuple(outputs["host_exec"]),
        faults=faults,
        probe_image=str(request.settings.get("probe_image") or ""),
    )


def machines_of(entry: Entry) -> tuple[Machine, ...]:
    """The nodes of a cluster that is up, and its fixtures; ProvisionError if they can't be told."""
    outputs = outputs_of(entry)
    return (*(_node(node) for node in outputs["nodes"]), *_fixtures(outputs))


def logging_machines(entry: Entry) -> tuple[Machine, ...]:
    """What has logs in a cluster that is up: its nodes, or the machine of a control plane that has none, and fixtures on which something runs."""
    outputs = outputs_of(entry)
    nodes = (_node(found) for found in (*outputs["nodes"], *outputs.get("control_machines", ())))
    return (*nodes, *(fixture for fixture in _fixtures(outputs) if fixture.logs))


def outputs_of(entry: Entry) -> dict[str, Any]:
    """The outputs of a cluster that is up, as its own files (without starting Terraform) or its state tell; ProvisionError if neither can."""
    root, own = folder_of(entry), Path(entry.folder) / "outputs.json"
    outputs: dict[str, Any]
    if entry.folder and own.exists():
        outputs = json.loads(own.read_text(encoding="utf-8"))
    elif root is not None and has_state(root):
        outputs = Terraform(root).output()
        check_outputs(outputs)
    else:
        raise ProvisionError(
            f"cluster {entry.name} isn't up: there is no Terraform state in {root or 'any folder we know'}"
        )
    return outputs


def _node(entry: Mapping[str, Any]) -> Node:
    return Node(
        name=entry["name"],
        role=entry["role"],
        address=entry["address"],
        addresses=tuple(entry.get("addresses", ())),
        pod_cidr=entry["pod_cidr"],
        pod_cidrs=tuple(entry.get("pod_cidrs") or [cidr for cidr in (entry["pod_cidr"],) if cidr]),
        exec=tuple(entry["exec"]),
        logs=_commands(entry, "logs"),
        follows=_commands(entry, "follows"),
        is_spare=entry.get("spare", False),
    )


def _commands(entry: Mapping[str, Any], kind: str) -> dict[str, tuple[str, ...]]:
    return {component: tuple(argv) for component, argv in entry.get(kind, {}).items()}


def _fixtures(outputs: Mapping[str, Any]) -> tuple[Fixture, ...]:
    """The machines outside of the cluster; one that an earlier version made tells of none."""
    return tuple(
        Fixture(
            name=entry["name"],
            kind=entry["kind"],
            program=entry.get("program", ""),
            address=entry["address"],
            addresses=tuple(entry.get("addresses", ())),
            exec=tuple(entry["exec"]),
            logs=_commands(entry, "logs"),
        )
        for entry in outputs.get("fixtures", ())
    )
