"""`koalesce reset` of a kept cluster of one node: where nothing differs, and after tests that left pods, objects and changes on the node, or replaced CoreDNS' pod."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.cluster_start import environment

NAME = "b-reset"
PODS = 4
SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: mess}
cluster: {nodes: 1}
tests: []
"""
MESS = f"""
kubectl create namespace mess
kubectl -n mess create deployment web --replicas={PODS} --image=koalesce.dev/pause:1
kubectl -n mess expose deployment web --port=80
kubectl create clusterrole mess --verb=get --resource=pods
kubectl -n mess rollout status deployment/web --timeout=120s
ip link add mess type bridge && ip route add blackhole 10.99.0.0/16 && ipset create mess hash:ip && iptables -N MESS && echo 1 > /etc/mess
"""
REPLACED = f"""
{MESS}
kubectl -n kube-system delete pod -l k8s-app=kube-dns --grace-period=0 --force
kubectl -n kube-system rollout status deployment/coredns --timeout=120s
"""


def main(runs: int = 5) -> None:
    """Make a cluster, reset it some times, and print medians with the least and the most."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "mess.yaml")
        spec.write_text(SPEC)
        _koalesce("up", str(spec), "--name", NAME, "--trust")
        try:
            _print("nothing differs", [_reset() for _ in range(runs)])
            _print(f"{PODS} running pods and changes of the node", [_reset(MESS) for _ in range(runs)])
            _print("the same, and another pod of CoreDNS", [_reset(REPLACED) for _ in range(runs)])
        finally:
            _koalesce("down", NAME)


def _reset(mess: str = "") -> float:
    """Seconds of the command, after a script on the node."""
    if mess:
        script = f"export KUBECONFIG=/etc/kubernetes/admin.conf; set -e; {mess}"
        _koalesce("ssh", NAME, "control-plane", "--", "sh", "-c", script)
    began = time.monotonic()
    _koalesce("reset", NAME)
    return time.monotonic() - began


def _print(what: str, seconds: list[float]) -> None:
    print(f"  {what:<46} {statistics.median(seconds):7.2f}  ({min(seconds):.2f} to {max(seconds):.2f})")


def _koalesce(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "koalesce", *words], capture_output=True, text=True, check=False, env=environment()
    )
    if done.returncode:
        raise SystemExit(f"koalesce {' '.join(words)}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
