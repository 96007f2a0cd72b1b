"""Components of a control plane as static pods, whose manifests are as kubeadm's: the kubelet runs what lies in its folder.

https://github.com/kubernetes/kubernetes/tree/master/cmd/kubeadm/app/phases/controlplane (and phases/etcd)
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from koalesce import process
from koalesce.local import cgroups, control_plane
from koalesce.local.node import RunningNode, exec_prefix
from koalesce.local.nodeinit import LOGS
from koalesce.local.request import API_PORT, LocalRequest, NodeSpec

NAMESPACE = "kube-system"
FOLDER = "/etc/kubernetes/manifests"
POD_LOGS = f"/var/log/pods/{NAMESPACE}_*/*/*.log"
WITHDRAWN = "."  # kubelets pass over what begins so
_PATIENCE = 20.0
_CPU = {"etcd": "100m", "kube-apiserver": "250m", "kube-controller-manager": "200m", "kube-scheduler": "100m"}
_PORTS = {"etcd": 2381, "kube-apiserver": API_PORT, "kube-controller-manager": 10257, "kube-scheduler": 10259}
_PATHS = {"kube-controller-manager": ("/healthz", "/healthz")}
_CERTIFICATES = {"ca-certs": "/etc/ssl/certs", "k8s-certs": "/etc/kubernetes/pki"}
_FOLDERS: Mapping[str, Mapping[str, str]] = {
    "etcd": {"etcd-data": "/var/lib/etcd", "etcd-certs": "/etc/kubernetes/pki/etcd"},
    "kube-apiserver": _CERTIFICATES,
    "kube-controller-manager": {**_CERTIFICATES, "flexvolume-dir": "/var/lib/kubelet/volume-plugins"},
    "kube-scheduler": {},
}
_FILES: Mapping[str, Mapping[str, str]] = {
    "kube-controller-manager": {"kubeconfig": "/etc/kubernetes/controller-manager.conf"},
    "kube-scheduler": {"kubeconfig": "/etc/kubernetes/scheduler.conf", **control_plane.SERVING},
}
_WRITTEN = ("etcd-data", "flexvolume-dir", "audit-log")
# As patient as kubeadm's, but asked every second, so that a pod doesn't count as started many seconds after it has.
_START = {"periodSeconds": 1, "failureThreshold": 250, "timeoutSeconds": 15}
_LIVE = {"periodSeconds": 10, "failureThreshold": 8, "timeoutSeconds": 15}
_READY = {"periodSeconds": 1, "failureThreshold": 3, "timeoutSeconds": 15}
# The logs of containers in their order: of a pod's, 10.log is behind 2.log; of pods, that which began a container last comes last.
_FILES_OF = 'files() { for folder in $(ls -dtr FOLDERS); do ls -v "$folder"/*.log; done; }\n'
# What is there is printed first, file by file; each file that comes later has a tail of its own.
_FOLLOW = """\
skip=
[ "$1" -gt 0 ] && skip="1,$1 d;"
follow() {
  set -- $(files 2>/dev/null)
  known=" $* "
  [ -e "$1" ] && tail -q -n +1 -F "$@" 2>/dev/null &
  while sleep 0.5; do
    for file in $(files 2>/dev/null); do
      case "$known" in *" $file "*) continue;; esac
      [ -e "$file" ] || continue
      known="$known$file "
      tail -n +1 -F "$file" 2>/dev/null &
    done
  done
}
follow | sed -u "$skip s/^[^ ]* [^ ]* [^ ]* //"
"""


def pod_name(component: str, node: str) -> str:
    """The name of the pod that the API shows for it (its mirror)."""
    return f"{component}-{node}"


def log_command(component: str, node: str) -> list[str]:
    """The argv that prints what its containers have written, on the node: without the runtime's time and stream at the begin of each line."""
    return ["sh", "-c", f"{_files(component, node)}files | xargs -r cat | cut -d ' ' -f 4-"]


def follow_command(component: str, node: str) -> list[str]:
    """The argv that, with a number of lines behind it, prints the same but for so many, and then what containers add: also those that come later."""
    return ["sh", "-c", _files(component, node) + _FOLLOW, "sh"]


def _files(component: str, node: str) -> str:
    return _FILES_OF.replace("FOLDERS", _folders(component, node))


def logs(component: str, node: str) -> str:
    """The files, as a shell's pattern, that its containers write on the node."""
    return f"{_folders(component, node)}/*.log"


def _folders(component: str, node: str) -> str:
    return f"/var/log/pods/{NAMESPACE}_{pod_name(component, node)}_*/{component}"


def manifest(
    request: LocalRequest, node: NodeSpec, argv: Sequence[str], image: str, *, slowness: float = 1.0
) -> dict[str, Any]:
    """The Pod of a component, whose argv as a service is given; it may be silent so many times longer by `slowness` before it's started again."""
    component = Path(argv[0]).name
    folders, files = dict(_FOLDERS[component]), dict(_FILES.get(component, {}))
    if component == "kube-apiserver":
        files |= {name: path for name, path in _own_files(argv).items() if path}
        folders |= {"audit-log": LOGS} if "audit-policy" in files else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": component,
            "namespace": NAMESPACE,
            "labels": {"component": component, "tier": "control-plane"},
        },
        "spec": {
            "containers": [
                {
                    "name": component,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": [component, *argv[1:]],
                    "resources": {"requests": _requests(component)},
                    "volumeMounts": [_mount(name, path) for name, path in {**folders, **files}.items()],
                    **_probes(component, node, slowness),
                }
            ],
            "hostNetwork": True,
            "priority": 2000001000,
            "priorityClassName": "system-node-critical",
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [
                *(_volume(name, path, "DirectoryOrCreate") for name, path in folders.items()),
                *(_volume(name, path, "FileOrCreate") for name, path in files.items()),
            ],
        },
    }


def give(node: RunningNode, pod: Mapping[str, Any]) -> None:
    """Put a manifest into the folder of a node's kubelet, all of it at once."""
    file = _file(node, pod["metadata"]["name"])
    draft = file.with_name(f".{file.name}.new")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(pod, indent=2))
    draft.replace(file)


def given(node: RunningNode) -> list[str]:
    """The components of a node whose manifests are there, or have been withdrawn."""
    folder = _file(node, "").parent
    names = {file.name.removeprefix(WITHDRAWN).removesuffix(".yaml") for file in folder.glob("*.yaml")}
    return sorted(name for name in names if name in _FOLDERS)


class StaticPod:
    """A static pod of a node's kubelet, which is one process."""

    def __init__(self, node: RunningNode, component: str) -> None:
        self._node, self._component = node, component

    def pid(self) -> int:
        """Its process in the node's pid namespace, 0 while it doesn't run: the one that runs its manifest's very command."""
        command = self._command()
        for path in Path(f"/proc/{self._node.pid}/root/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ends meanwhile
                if (path / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1] == command:
                    return int(path.name)
        return 0

    def group(self) -> str:
        """The name of the cgroup of its pod; empty while it doesn't run."""
        pid = self.pid()
        found = cgroups.POD.search(_cgroups(Path(f"/proc/{self._node.pid}/root/proc/{pid}"))) if pid else None
        return found[0] if found else ""

    def is_over(self, group: str) -> bool:
        """Whether the kubelet has ended the pod, with what holds its namespaces: it knows that the manifest is gone."""
        return not any(group in _cgroups(path) for path in Path(f"/proc/{self._node.pid}/root/proc").glob("[0-9]*"))

    def _command(self) -> list[str]:
        file = _file(self._node, self._component)
        there = file if file.exists() else file.with_name(f"{WITHDRAWN}{file.name}")
        found: list[str] = json.loads(there.read_text())["spec"]["containers"][0]["command"]
        return found

    def hold(self) -> None:
        """Have the kubelet end it, and not start it again."""
        file = _file(self._node, self._component)
        file.replace(file.with_name(f"{WITHDRAWN}{file.name}"))

    def release(self) -> None:
        """Have the kubelet run it."""
        file = _file(self._node, self._component)
        file.with_name(f"{WITHDRAWN}{file.name}").replace(file)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if pid := self.pid():
            words = ["sh", "-c", f"kill -{int(number)} {pid}"]
            process.run([*exec_prefix(f"/proc/{self._node.pid}"), *words], timeout=_PATIENCE)


def _cgroups(process: Path) -> str:
    try:
        return (process / "cgroup").read_text()
    except OSError:  # it has ended
        return ""


def _file(node: RunningNode, component: str) -> Path:
    """Its manifest, as seen from this machine."""
    return Path(f"/proc/{node.pid}/root{FOLDER}/{component}.yaml")


def _own_files(argv: Sequence[str]) -> dict[str, str]:
    """What an API server reads besides certificates."""
    flags = dict(word.split("=", 1) for word in argv[1:])
    names = {"audit-policy": "--audit-policy-file", "admission": "--admission-control-config-file"}
    return {name: flags.get(flag, "") for name, flag in names.items()}


def _requests(component: str) -> dict[str, str]:
    return {"cpu": _CPU[component], **({"memory": "100Mi"} if component == "etcd" else {})}


def _probes(component: str, node: NodeSpec, slowness: float) -> dict[str, Any]:
    live, ready = _PATHS.get(component, ("/livez", "/readyz"))
    host = node.address if component == "kube-apiserver" else "127.0.0.1"
    scheme = "HTTP" if component == "etcd" else "HTTPS"

    def get(path: str) -> dict[str, Any]:
        return {"httpGet": {"host": host, "path": path, "port": _PORTS[component], "scheme": scheme}}

    def patient(rule: Mapping[str, int]) -> dict[str, int]:
        return {**rule, "failureThreshold": round(rule["failureThreshold"] * slowness)}

    return {
        "livenessProbe": get(live) | patient(_LIVE),
        "readinessProbe": get(ready) | _READY,
        "startupProbe": get(live) | patient(_START),
    }


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, **({} if name in _WRITTEN else {"readOnly": True})}


def _volume(name: str, path: str, kind: str) -> dict[str, Any]:
    return {"name": name, "hostPath": {"path": path, "type": kind}}
