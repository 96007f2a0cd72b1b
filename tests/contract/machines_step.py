"""Stands in for `koalesce` as the command that Terraform calls: servers of a fake cloud lead to no machines that could become nodes.

All but `machines up` is done by the real one. That answers as if the cluster were up, once `STEP_SECONDS` have passed, or fails with `STEP_FAILS`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(words: list[str]) -> None:
    if words != ["machines", "up"]:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "koalesce", *words])
    request = json.loads(os.environ["KOALESCE_REQUEST"])
    time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
    if why := os.environ.get("STEP_FAILS"):
        sys.exit(f"error: {why}")
    folder, settings = Path(request["state_dir"]), request["settings"]
    (folder / "kubeconfig").touch(mode=0o600)
    machines = zip(request["nodes"], settings["machines"], strict=True)
    nodes = [
        {"name": node["name"], "role": node["role"], "address": machine["address"], "pod_cidr": "10.244.0.0/24", "exec": [], "logs": {}}
        for node, machine in machines
    ]  # fmt: skip
    outputs = {
        "contract": 1, "nodes": nodes, "fixtures": [], "kubeconfig_path": str(folder / "kubeconfig"), "dns_ip": "10.96.0.10",
        "api_endpoint": f"https://{settings['machines'][0]['host']}:6443", "capabilities": ["node-exec"], "host_exec": [],
    }  # fmt: skip
    (folder / "outputs.json").write_text(json.dumps(outputs))
    (folder / "asked.json").write_text(json.dumps(request))


if __name__ == "__main__":
    main(sys.argv[1:])
