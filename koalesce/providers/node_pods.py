"""The pods by which commands run on nodes that others made: one on each, privileged, in a namespace of the run's own.

What is there of them has the run's label, so that it goes when the cluster is left, and `koalesce sweep` removes what a killed run left. Nothing is put on
the nodes themselves: the probe lies in the pods.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from koalesce.errors import ClusterError, ProvisionError
from koalesce.kube import ApiError, Kube
from koalesce.kube.marks import LONGEST, RUN_LABEL, run_label, slug
from koalesce.providers.node_exec import CONTAINER, OWN_FOLDER, PROBE, words_of
from koalesce.providers.pod_probes import MACHINES

DEFAULT_IMAGE = "docker.io/library/busybox:1.37"
_ACCOUNT = "nodes"
_SECURITY = "pod-security.kubernetes.io"  # https://kubernetes.io/docs/concepts/security/pod-security-admission/
_UP_WITHIN = 120.0
_PAUSE = 0.25
_SUPPLY = 60.0
_AT_ONCE = 8
_HOPELESS = ("CreateContainerConfigError", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName")
_PUT = 'head -c "$0" >"$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1"'
Object = Mapping[str, Any]


def namespace_of(run_id: str) -> str:
    """The namespace of a run's pods on nodes."""
    return f"koalesce-nodes-{slug(run_id, LONGEST - len('koalesce-nodes-'))}"


def check_nodes(nodes: Sequence[Object]) -> None:
    """Raise ProvisionError for nodes (as the API has them) on which no pod of ours could be of use."""
    ours = MACHINES.get(platform.machine(), platform.machine())
    for node in nodes:
        info = (node.get("status") or {}).get("nodeInfo") or {}
        name, system, machine = node["metadata"]["name"], info.get("operatingSystem"), info.get("architecture")
        if (system, machine) != ("linux", ours):
            raise ProvisionError(
                f"commands can't run on node {name}: it is {system}/{machine}, and what we put there is of linux/{ours}",
                hint="leave out --allow-node-exec",
            )
        if not _is_ready(node):
            raise ProvisionError(f"commands can't run on node {name}: it isn't Ready")


def make(kube: Kube, run_id: str, nodes: Sequence[str], image: str, probe: Path) -> None:
    """Make the pods, wait until they run, see that they reach their nodes, and put the probe in; ProvisionError where that can't be done."""
    namespace = namespace_of(run_id)
    try:
        for each in (_namespace(namespace, run_id), _account(namespace, run_id)):
            _create(kube, each)
        for node in nodes:
            _create(kube, _pod(namespace, run_id, node, image))
        _await_running(kube, namespace, len(nodes), image)
        program = probe.read_bytes()
        with ThreadPoolExecutor(max_workers=max(1, min(_AT_ONCE, len(nodes)))) as pool:
            list(pool.map(lambda node: _supply(kube, namespace, node, program), nodes))
    except ApiError as error:
        raise ProvisionError(
            f"the cluster doesn't let us run privileged pods on its nodes: {error.message}",
            hint="leave out --allow-node-exec, or take a context that may",
        ) from error


def _create(kube: Kube, obj: Object) -> None:
    try:
        kube.create(obj)
    except ApiError as error:
        if error.reason != "AlreadyExists":  # Terraform was interrupted, and is told to go on
            raise


def _supply(kube: Kube, namespace: str, node: str, program: bytes) -> None:
    """Put the probe into a node's pod, and see that the node is reached from there."""
    looks: list[tuple[list[str], bytes | None]] = [
        (["sh", "-c", _PUT, str(len(program)), PROBE], program),
        (words_of(["true"], "trial"), None),
    ]
    for command, stdin in looks:
        try:
            done = kube.exec(node, command, namespace=namespace, container=CONTAINER, stdin=stdin, timeout=_SUPPLY)
        except ClusterError as error:
            raise ProvisionError(f"commands can't run on node {node}: {error.message}", hint=error.hint) from error
        if done.code:
            raise ProvisionError(
                f"commands can't run on node {node}: {done.err.strip() or f'exit code {done.code}'}", hint=_of_image()
            )


def _await_running(kube: Kube, namespace: str, count: int, image: str) -> None:
    deadline = time.monotonic() + _UP_WITHIN
    while True:
        pods = kube.list(kube.resource("pods"), namespace=namespace)
        waiting = dict(_waiting(pods))
        if len(pods) == count and not waiting:
            return
        hopeless = [(node, why) for node, why in waiting.items() if why.partition(":")[0] in _HOPELESS]
        if hopeless or time.monotonic() >= deadline:
            node, why = next(iter(hopeless or waiting.items()), ("?", "it is gone"))
            raise ProvisionError(f"the pod of {image} on node {node} doesn't run: {why}", hint=_of_image())
        time.sleep(_PAUSE)


def _waiting(pods: Sequence[Object]) -> Iterator[tuple[str, str]]:
    """The nodes whose pod doesn't run yet, and why."""
    for pod in pods:
        status = pod.get("status") or {}
        states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
        if states and all("running" in state for state in states):
            continue
        told = next((each for state in states for each in state.values()), status)
        said = [str(told[field]) for field in ("reason", "message") if told.get(field)]
        yield pod["spec"]["nodeName"], ": ".join(said) or str(status.get("phase", "Pending"))


def _of_image() -> str:
    return (
        f"say providers: {{kubeconfig: {{node_exec_image: REF}}}} for an image that the nodes can pull, with sh, head, grep, and nsenter or chroot; "
        f"it is {DEFAULT_IMAGE} otherwise"
    )


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _namespace(name: str, run_id: str) -> dict[str, Any]:
    allowed = {f"{_SECURITY}/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {**_marks(run_id), **allowed}},
    }


def _account(namespace: str, run_id: str) -> dict[str, Any]:
    """An account of its own, so that nobody waits for the default one; it may nothing."""
    return {
        "apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": False,
        "metadata": {"name": _ACCOUNT, "namespace": namespace, "labels": _marks(run_id)},
    }  # fmt: skip


def _pod(namespace: str, run_id: str, node: str, image: str) -> dict[str, Any]:
    """A pod that does nothing, on this very node, with its namespaces and rights."""
    container = {
        "name": CONTAINER, "image": image, "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"],
        "securityContext": {"privileged": True, "runAsUser": 0},
        "volumeMounts": [{"name": "own", "mountPath": OWN_FOLDER}],
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": node, "namespace": namespace, "labels": _marks(run_id)},
        "spec": {
            "nodeName": node, "hostPID": True, "hostIPC": True, "hostNetwork": True, "dnsPolicy": "Default",
            "serviceAccountName": _ACCOUNT, "automountServiceAccountToken": False, "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}], "terminationGracePeriodSeconds": 0,
            "containers": [container], "volumes": [{"name": "own", "emptyDir": {}}],
        },
    }  # fmt: skip


def _marks(run_id: str) -> dict[str, str]:
    return {RUN_LABEL: run_label(run_id), "app.kubernetes.io/managed-by": "koalesce"}
