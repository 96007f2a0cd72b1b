"""Makes and removes clusters on machines: what `koalesce machines up` and `down` do for Terraform."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from koalesce.clock import SystemClock
from koalesce.errors import KoalesceError, ProvisionError, TeardownError
from koalesce.local.ledger import Entry, Ledger, Thing
from koalesce.local.phases import Phases
from koalesce.local.request import LocalRequest
from koalesce.machines import keys, outputs, removal, request
from koalesce.machines.boot import additions, cloudinit, config
from koalesce.machines.bringup import Bringup
from koalesce.machines.request import Account, MachinesRequest, Saved
from koalesce.machines.shell import Shell, exec_script, write_config
from koalesce.toolchain import ImageStore, LocalTools, Toolchain

OUTPUTS = "outputs.json"
_SAVED = "machines.json"
_EXEC = "exec"


def up(text: str, *, ledger: Ledger | None = None, progress: Callable[[str], None] = lambda line: None) -> None:
    """Make the cluster that a request (JSON) asks for; KoalesceError if it can't be made.

    What was made until then is known to the ledger, and to the machines themselves.
    """
    wanted = request.parse(text)
    ledger = ledger or Ledger()
    name, folder = wanted.cluster.name, wanted.cluster.state_dir
    with _alone(folder):
        _make(wanted, name, folder, ledger, progress)


def _make(wanted: MachinesRequest, name: str, folder: Path, ledger: Ledger, progress: Callable[[str], None]) -> None:
    _clear(folder, progress)
    tools, store = tools_of(wanted.cluster, progress)
    identity = f"{name}-{secrets.token_hex(8)}"
    is_plain = ledger.find(name) is None  # Terraform alone keeps what it makes until its destroy
    ledger.change(
        name, provider=wanted.provider, run_id=wanted.cluster.run_id, kubernetes=wanted.cluster.kubernetes,
        nodes=tuple(node.name for node in wanted.cluster.nodes), folder=str(folder), kubeconfig=str(folder / "kubeconfig"),
        things=(Thing("folder", str(folder)),), **({"keep": True} if is_plain else {}),
    )  # fmt: skip
    make(wanted, tools, store, ledger=ledger, identity=identity, progress=progress)
    ledger.change(name, ready=True)


def make(
    wanted: MachinesRequest,
    tools: LocalTools,
    store: ImageStore,
    *,
    ledger: Ledger,
    identity: str,
    progress: Callable[[str], None],
) -> None:
    """Make the cluster on its machines, and write down what it tells Terraform; the ledger knows of it. KoalesceError if it can't be made."""
    folder = wanted.cluster.state_dir
    _prepare(folder, wanted, identity)
    shells = _shells(folder, wanted.accounts, wanted.known_hosts, wanted.slowness)
    bringup = Bringup(
        request=wanted, tools=tools, store=store, folder=folder, identity=identity, shells=shells,
        phases=Phases(SystemClock(), progress),
    )  # fmt: skip
    try:
        abilities = bringup.run()
    except KoalesceError as error:
        if kept := _keep_evidence(bringup, ledger.log(wanted.cluster.name)):
            error.message += f"\nwhat services on the machines wrote is in {kept}"
        raise
    shutil.rmtree(folder / "images", ignore_errors=True)
    values = outputs.outputs(wanted, folder, exec_of=lambda node: [str(_program(folder, node))], capabilities=abilities)
    (folder / OUTPUTS).touch(mode=0o600)
    (folder / OUTPUTS).write_text(json.dumps(values, indent=2), encoding="utf-8")


def down(name: str, *, ledger: Ledger | None = None) -> None:
    """Remove a cluster from its machines, and our own files; without one of this name all is well. TeardownError says what is left."""
    ledger = ledger or Ledger()
    entry = ledger.find(name)
    if entry is None or not entry.folder:
        return
    folder = Path(entry.folder)
    if failures := _remove_from_machines(folder):
        raise TeardownError("\n".join(failures), command=f"koalesce down {name}")
    shutil.rmtree(folder, ignore_errors=True)
    if entry.keep and not entry.session:
        ledger.remove(name)


def free(name: str, settings: Mapping[str, Any], *, command: str) -> list[str]:
    """Remove a cluster of which nothing is known here from those of the machines that say they have it; returns these.

    `settings` are those of the contract; TeardownError, with the `command` that goes on, says what is left.
    """
    accounts = [request.account_of(f"machine-{number}", each) for number, each in enumerate(settings["machines"], 1)]
    with tempfile.TemporaryDirectory(prefix="koalesce-") as folder:
        write_config(Path(folder), accounts, settings["known_hosts"])
        shells = _shells(Path(folder), accounts, settings["known_hosts"]).values()
        with ThreadPoolExecutor(max_workers=len(accounts)) as pool:
            ends = list(pool.map(lambda shell: _freed(shell, name), shells))
    if failures := [text for _, text in ends if text]:
        raise TeardownError("\n".join(failures), command=command)
    return [str(account.host) for account, (was_there, _) in zip(accounts, ends, strict=True) if was_there]


def make_key(text: str, *, ledger: Ledger | None = None) -> Path:
    """Make what a cluster's machines are made with, as files below its folder: a key pair (one that is there stays), and their user data."""
    name, provider, run_id, folder = request.identity(text)
    ledger = ledger or Ledger()
    is_plain = ledger.find(name) is None
    ledger.change(
        name, provider=provider, run_id=run_id, folder=str(folder), things=(Thing("folder", str(folder)),), **({"keep": True} if is_plain else {})
    )  # fmt: skip
    path = keys.make(folder, name)
    opened_by = [(path.parent / keys.PUBLIC).read_text(encoding="utf-8").strip(), *request.authorized_keys(text)]
    wishes, allowed = request.boot(text)
    told = additions.added(config.load().opened_by(opened_by), wishes, allowed=allowed)
    (path.parent / keys.USER_DATA).write_text(cloudinit.render(told), encoding="utf-8")
    return path


def forget(name: str, *, ledger: Ledger | None = None) -> None:
    """Remove our own files of a cluster whose machines are gone; without one of this name all is well."""
    ledger = ledger or Ledger()
    entry = ledger.find(name)
    if entry is None or not entry.folder:
        return
    folder = Path(entry.folder)
    if (folder / _SAVED).exists():
        saved = request.of_saved(folder / _SAVED)
        for shell in _shells(folder, saved.accounts, saved.known_hosts).values():
            shell.close()
    shutil.rmtree(folder, ignore_errors=True)
    if entry.keep and not entry.session:
        ledger.remove(name)


def close(wanted: MachinesRequest) -> None:
    """End the connections to machines that are about to end themselves."""
    folder = wanted.cluster.state_dir
    if (folder / _SAVED).exists():
        for shell in _shells(folder, wanted.accounts, wanted.known_hosts).values():
            shell.close()


def remains(entry: Entry) -> list[str]:
    """What is still there of a cluster: on its machines, where they can be asked, and our own files."""
    folder = Path(entry.folder) if entry.folder else None
    if folder is None or not folder.exists():
        return []
    own = [f"folder {folder}"]
    if not (folder / _SAVED).exists():
        return own
    saved = request.of_saved(folder / _SAVED)
    shells = _shells(folder, saved.accounts, saved.known_hosts).values()
    taken = [shell for shell in shells if shell.is_taken]
    with ThreadPoolExecutor(max_workers=len(shells)) as pool:
        return [*(text for text in pool.map(lambda shell: _left(shell, saved), taken) if text), *own]


def tools_of(cluster: LocalRequest, progress: Callable[[str], None]) -> tuple[LocalTools, ImageStore]:
    """What was found or made before, or is now, where Terraform alone makes the cluster."""
    if cluster.tools and cluster.image_store:
        return LocalTools.from_json(cluster.tools), ImageStore(cluster.image_store)
    toolchain = Toolchain(progress=progress)
    return toolchain.local_cluster(cluster.kubernetes, dns=cluster.dns, static=cluster.static), toolchain.images


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds a cluster's folder, so that what an earlier command has left there isn't what another one is making."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ProvisionError(f"another command is making a cluster in {folder}", hint="wait for its end") from error
    finally:
        os.close(descriptor)


def _clear(folder: Path, progress: Callable[[str], None]) -> None:
    """Make room for a cluster where an attempt to make it has failed: `terraform apply` may be said again and again."""
    left = [path for path in folder.iterdir() if path.name != keys.FOLDER]
    if not left:
        return
    if (folder / OUTPUTS).exists() or not (folder / _SAVED).exists():
        raise ProvisionError(f"{folder} is in use", hint="choose another state_dir, or empty this one")
    progress("removing what an attempt that failed has left")
    if failures := _remove_from_machines(folder):
        raise ProvisionError("\n".join(failures), hint="see that the machine is on, and try again")
    for path in left:  # it stays itself: it is what commands hold
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remove_from_machines(folder: Path) -> list[str]:
    """Bring the machines of a cluster back to how they were; what is left there, as sentences."""
    if not (folder / _SAVED).exists():
        return []
    saved = request.of_saved(folder / _SAVED)
    shells = _shells(folder, saved.accounts, saved.known_hosts)
    taken = [shell for shell in shells.values() if shell.is_taken]
    with ThreadPoolExecutor(max_workers=len(shells)) as pool:
        failures = [text for text in pool.map(lambda shell: _removed(shell, saved.identity), taken) if text]
    if not failures:
        for shell in shells.values():
            shell.close()
    return failures


def _prepare(folder: Path, wanted: MachinesRequest, identity: str) -> None:
    """Write down how the machines are reached before anything is put on them."""
    folder.chmod(0o700)
    (folder / _SAVED).write_text(request.saved(wanted, identity), encoding="utf-8")
    write_config(folder, wanted.accounts, wanted.known_hosts, fresh=wanted.fresh, slowness=wanted.slowness)
    (folder / _EXEC).mkdir(exist_ok=True)
    for account in wanted.accounts:
        program = _program(folder, account.node)
        program.write_text(exec_script(folder, account, inside=wanted.inside), encoding="utf-8")
        program.chmod(0o700)


def _program(folder: Path, node: str) -> Path:
    return folder / _EXEC / node


def _shells(folder: Path, accounts: Sequence[Account], known_hosts: str, slowness: float = 1.0) -> dict[str, Shell]:
    return {
        each.node: Shell(account=each, folder=folder, known_hosts=known_hosts, slowness=slowness) for each in accounts
    }


def _freed(shell: Shell, name: str) -> tuple[bool, str]:
    """Whether a machine says that it has a cluster of this name, and what of it is left there."""
    try:
        shell.open()
        identity = removal.owner(shell)
    except KoalesceError as error:
        return False, error.message
    is_its = identity.rpartition("-")[0] == name
    left = _removed(shell, identity) if is_its else ""
    shell.close()
    return is_its, left


def _removed(shell: Shell, identity: str) -> str:
    try:
        removal.remove(shell, identity)
    except KoalesceError as error:
        return f"{error.message}; what the cluster has left there stays until it can be removed"
    return ""


def _left(shell: Shell, saved: Saved) -> str:
    try:
        found = removal.record(shell)
    except KoalesceError as error:
        return f"what may be left there can't be told: {error.message}"
    return f"the cluster's files and services on {shell.account}" if found and found.identity == saved.identity else ""


def _keep_evidence(bringup: Bringup, path: Path) -> str:
    """Write what the machines' services wrote to a file that outlives the cluster; its path, or nothing where there is nothing."""
    parts = [f"==> {name}\n{text}" for name, text in bringup.evidence() if text.strip()]
    if not parts:
        return ""
    path.touch(mode=0o600)
    path.write_text("\n".join(parts), encoding="utf-8")
    return str(path)
