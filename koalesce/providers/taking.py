"""Taking and leaving a cluster that others made: what `koalesce kubeconfig up` and `down` do for Terraform."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from koalesce.errors import KoalesceError, ProvisionError, TeardownError, UsageError
from koalesce.kube import Kube
from koalesce.kube.leftovers import left_by
from koalesce.kube.marks import RUN_LABEL, run_label
from koalesce.local.ledger import Entry, Ledger, Thing
from koalesce.providers import node_exec, node_pods
from koalesce.providers.existing import Found, look

CONTRACT = 1
KUBECONFIG, OUTPUTS = "kubeconfig", "outputs.json"
_GONE_WITHIN = 120.0
_LOOK = 30.0
_PAUSE = 0.2


def take(text: str, *, ledger: Ledger | None = None, progress: Callable[[str], None] = lambda line: None) -> None:
    """Look at the cluster that a request (JSON) names, and write down how it is used; KoalesceError if it can't be."""
    request = _parsed(text)
    found = look(request.get("settings") or {})
    folder = Path(str(request["state_dir"]))
    ledger = ledger or Ledger()
    is_plain = ledger.find(str(request["name"])) is None  # Terraform alone keeps what it makes until its destroy
    ledger.change(
        str(request["name"]), provider="kubeconfig", run_id=str(request["run_id"]), kubernetes=found.kubernetes,
        nodes=tuple(str(node["name"]) for node in found.nodes), folder=str(folder),
        things=(Thing("folder", str(folder)),), **({"keep": True, "ready": True} if is_plain else {}),
    )  # fmt: skip
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    kubeconfig = folder / KUBECONFIG
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(found.context.alone(), encoding="utf-8")
    nodes = _reached(found, folder, request, progress) if found.runs_on_nodes else list(found.nodes)
    outputs = {
        "contract": CONTRACT, "nodes": nodes, "fixtures": [], "kubeconfig_path": str(kubeconfig),
        "api_endpoint": found.context.server, "capabilities": sorted(found.capabilities), "dns_ip": found.dns_ip, "host_exec": [],
    }  # fmt: skip
    (folder / OUTPUTS).write_text(json.dumps(outputs), encoding="utf-8")
    progress(f"Kubernetes {found.kubernetes}, {found.size}")


def _reached(
    found: Found, folder: Path, request: Mapping[str, Any], progress: Callable[[str], None]
) -> list[Mapping[str, Any]]:
    """The nodes, with what runs commands on them, once that works."""
    from koalesce.toolchain import Toolchain  # what only this needs

    names = [str(node["name"]) for node in found.nodes]
    image = str(request["settings"].get("node_exec_image") or "") or node_pods.DEFAULT_IMAGE
    probe = Toolchain(progress=progress).tool("koalesce-probe") / "koalesce-probe"
    namespace = node_pods.namespace_of(str(request["run_id"]))
    progress(f"commands on nodes: privileged pods of {image} in {namespace}")
    kubeconfig = folder / KUBECONFIG
    kube = Kube(kubeconfig)
    try:
        node_pods.make(kube, str(request["run_id"]), names, image, probe)
    finally:
        kube.close()
    return [{**node, "exec": node_exec.prefix(kubeconfig, namespace, str(node["name"]))} for node in found.nodes]


def leave(name: str, *, ledger: Ledger | None = None) -> None:
    """Remove what a run has made in the cluster, and our own files; without an entry of this name all is well.

    Only what has the run's label is removed. TeardownError says what is left.
    """
    ledger = ledger or Ledger()
    entry = ledger.find(name)
    if entry is None or not entry.folder:
        return
    if is_in_use(entry):
        kube = Kube(Path(entry.folder) / KUBECONFIG)
        try:
            _remove_all(kube, entry)
        except KoalesceError as error:
            raise TeardownError(
                f"what is left in the cluster can't be told: {error.message}", command=f"koalesce down {name}"
            ) from error
        finally:
            kube.close()
    shutil.rmtree(entry.folder, ignore_errors=True)
    if entry.keep and not entry.session:
        ledger.remove(name)


def abandon(entry: Entry, *, ledger: Ledger | None = None) -> str:
    """Remove our own files, whatever a run has left in a cluster that can't be asked any more; what removes that by hand."""
    shutil.rmtree(entry.folder, ignore_errors=True)
    if entry.keep and not entry.session:
        (ledger or Ledger()).remove(entry.name)
    label = f"{RUN_LABEL}={run_label(entry.run_id)}"
    return (
        f"should the cluster come back, what is left there has the label {label}: kubectl delete namespaces -l {label}"
    )


def is_in_use(entry: Entry) -> bool:
    """Whether we have what it takes to ask the cluster: from when something may be made in it until it is left."""
    path = Path(entry.folder) / KUBECONFIG
    return bool(entry.folder) and path.exists() and path.stat().st_size > 0


def remains(entry: Entry) -> list[str]:
    """What a run has left in the cluster, and our own files."""
    folder = [f"folder {entry.folder}"] if entry.folder and Path(entry.folder).exists() else []
    if not is_in_use(entry):
        return folder
    kube = Kube(Path(entry.folder) / KUBECONFIG)
    try:
        return [*_left(kube, entry.run_id), *folder]
    except KoalesceError as error:
        return [f"what the cluster can't tell: {error.message}", *folder]
    finally:
        kube.close()


def _remove_all(kube: Kube, entry: Entry) -> None:
    """Ask for the removal of what has the run's label, and see it gone."""
    deadline = time.monotonic() + _GONE_WITHIN
    while left := _left(kube, entry.run_id, remove=True):
        if time.monotonic() >= deadline:
            raise TeardownError(
                f"still there after {_GONE_WITHIN:.0f}s: {', '.join(left)}", command=f"koalesce down {entry.name}"
            )
        time.sleep(_PAUSE)


def _left(kube: Kube, run_id: str, *, remove: bool = False) -> list[str]:
    """Namespaces and objects that have the run's label; with `remove` those that aren't on their way out are asked to go."""
    namespaces = kube.resource("namespaces")
    selector = f"{RUN_LABEL}={run_label(run_id)}"
    found = []
    for namespace in kube.list(namespaces, selector=selector, metadata_only=True):
        name = namespace["metadata"]["name"]
        found.append(f"namespace {name}")
        if remove and not namespace["metadata"].get("deletionTimestamp"):
            kube.delete(namespaces, name)
    if found:
        return found
    for each in left_by(kube, run_id, time=_LOOK, visible=True):
        found.append(f"{each}")
        if remove:
            kind, _, name = each.name.partition("/")
            kube.delete(kube.resource(kind), name, each.namespace or None)
    return found


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        request = json.loads(text)
    except ValueError as error:
        raise UsageError("koalesce kubeconfig up: the request is no JSON") from error
    if not isinstance(request, Mapping) or not all(request.get(field) for field in ("name", "run_id", "state_dir")):
        raise ProvisionError("koalesce kubeconfig up: the request lacks name, run_id or state_dir")
    return request
