"""Writes recipes for further Kubernetes versions, pinned by the Go checksum database.

k8s.io/kubernetes requires its staging modules at v0.0.0 and replaces them by folders that its module archive doesn't hold; the same code
is published as k8s.io/api v0.X.Y and so on. Which modules these are differs from version to version, and is read from its go.mod.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from koalesce import process
from koalesce.errors import Interrupted, ProvisionError, UsageError
from koalesce.process import Cancel
from koalesce.toolchain.gobuild import GoMissing, failure, find_go
from koalesce.toolchain.recipes import SHIPPED
from koalesce.toolchain.releases import version_key

_MODULE = "k8s.io/kubernetes"
_AGNHOST = "k8s.io/kubernetes/test/images/agnhost"
_STAMPED = ("k8s.io/client-go/pkg/version", "k8s.io/component-base/version")
_ROLES = ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet")
_TIMEOUT = 1800.0
_LAST_LINES = 12


class Generator:
    """Writes recipes with the help of the Go command and the user's module proxy."""

    def __init__(self, *, progress: Callable[[str], None] = lambda _: None, cancel: Cancel | None = None) -> None:
        self._progress = progress
        self._cancel = cancel

    def published(self) -> list[str]:
        """The versions of Kubernetes that the module proxy has, newest first."""
        said = self._go(
            ["list", "-m", "-versions", "-json", f"{_MODULE}@latest"], Path("/"), "asking for Kubernetes' versions"
        )
        versions = [text.removeprefix("v") for text in json.loads(said).get("Versions", []) if "-" not in text]
        return sorted(versions, key=version_key, reverse=True)

    def resolve(self, text: str) -> str:
        """`1.36` or `1.36.3` as a version that the module proxy has; raises UsageError for one that it hasn't."""
        wanted = text.removeprefix("v")
        published = self.published()
        for version in published:
            if version == wanted or version.rpartition(".")[0] == wanted:
                return version
        near = [version for version in published if version.split(".")[:2] == wanted.split(".")[:2]] or published[:8]
        raise UsageError(f"the Go module proxy has no Kubernetes {text}; it has, for example, {', '.join(near)}")

    def write(self, version: str, folder: Path) -> None:
        """Write the recipes of `kubernetes` and `agnhost` at an exact version into an empty folder."""
        self._progress(f"writing a recipe for Kubernetes {version}")
        said = self._go(
            ["mod", "download", "-json", f"{_MODULE}@v{version}"],
            folder,
            f"fetching the module of Kubernetes {version}",
        )
        module = Path(json.loads(said)["Dir"])
        described = json.loads(self._go(["mod", "edit", "-json", str(module / "go.mod")], folder, "reading go.mod"))
        (folder / "go.mod").write_text(go_mod(version, described), encoding="utf-8")
        shutil.copyfile(_main(), folder / "main.go")
        self._go(["mod", "tidy"], folder, f"pinning the modules of Kubernetes {version}")
        agnhost = (module / "test/images/agnhost/VERSION").read_text(encoding="utf-8").strip()
        (folder / "kubernetes.recipe.toml").write_text(kubernetes_recipe(version), encoding="utf-8")
        (folder / "agnhost.recipe.toml").write_text(agnhost_recipe(agnhost), encoding="utf-8")

    def _go(self, words: Sequence[str], folder: Path, what: str) -> str:
        go = find_go()
        if go is None:
            raise GoMissing("writing a recipe for Kubernetes")
        environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off"}
        try:
            result = process.run(
                [go, *words], cwd=folder, env=environment, timeout=_TIMEOUT, cancel=self._cancel, cap=64 << 20
            )
        except process.CommandTimeout as error:
            if error.cancelled:
                raise Interrupted from error
            raise ProvisionError(f"{what}: {error.message}") from error
        if result.code:
            said = result.err.strip() or str(_error(result.out))
            raise failure(f"{what} failed", said.splitlines()[-_LAST_LINES:], folder)
        return result.out


def go_mod(version: str, described: dict[str, Any]) -> str:
    """A go.mod that requires Kubernetes and replaces its staging modules; `described` is `go mod edit -json` of its own."""
    staging = [entry["Path"] for entry in described["Require"] if entry["Version"] == "v0.0.0"]
    published = "v0." + version.partition(".")[2]
    debug = [f"godebug {entry['Key']}={entry['Value']}" for entry in described.get("Godebug") or []]
    replaced = [f"\t{path} => {path} {published}" for path in staging]
    return "\n".join(
        [
            "module koalesce.dev/build/kubernetes\n",
            f"go {described['Go']}\n",
            *debug,
            f"require {_MODULE} v{version}\n",
            "replace (",
            *replaced,
            ")\n",
            f"tool {_AGNHOST}\n",
        ]
    )


def kubernetes_recipe(version: str) -> str:
    """The recipe of the five Kubernetes binaries, which are one."""
    major, minor, _ = version.split(".", 2)
    facts = {"gitMajor": major, "gitMinor": minor, "gitTreeState": "clean", "gitVersion": f"v{version}"}
    stamps = [f'  "{package}.{name}={value}",' for package in _STAMPED for name, value in facts.items()]
    roles = json.dumps(list(_ROLES))
    return "\n".join(
        [
            "# kubelet, kube-proxy and the control plane in one binary that tells its role from the name it is called by.",
            'tool = "kubernetes"',
            f'version = "{version}"',
            "minutes = 10",
            f"binaries = {roles}",
            'packages = ["."]',
            'output = "kube"',
            f"links = {roles}",
            "variables = [",
            *stamps,
            "]\n",
        ]
    )


def agnhost_recipe(version: str) -> str:
    """The recipe of the test image's program."""
    return "\n".join(
        [
            "# The test image's program as it is in this Kubernetes version (test/images/agnhost/VERSION).",
            'tool = "agnhost"',
            f'version = "{version}"',
            "minutes = 3",
            'binaries = ["agnhost"]',
            f'packages = ["{_AGNHOST}"]',
            'output = "agnhost"\n',
        ]
    )


def _main() -> Path:
    """The source of the binary that is all five; it is the same for all versions so far."""
    folders = SHIPPED.glob("kubernetes-*/main.go")
    return max(folders, key=lambda path: version_key(path.parent.name.partition("-")[2]))


def _error(text: str) -> object:
    """What `go mod download -json` says went wrong; it says so on standard output."""
    try:
        return json.loads(text).get("Error", "")
    except ValueError:
        return text
