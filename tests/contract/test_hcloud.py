"""The provider hcloud by real Terraform and its real plugin, in a fake cloud: made, refused, interrupted, destroyed; and nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from koalesce.assets import asset
from koalesce.errors import Interrupted, KoalesceError, ProvisionError, TeardownError
from koalesce.local.ledger import Ledger
from koalesce.providers.session import ClusterSession
from koalesce.providers.variables import koalesce_command
from koalesce.terraform import client as terraform
from koalesce.terraform.binary import find_binary
from koalesce.terraform.trying import plugin_mirror
from tests.contract.clouds import STEP, WithoutMachines, lacking, request
from tests.fake_hcloud import TOKEN, FakeHcloud
from tests.fake_http import Fault, serving
from tests.long import LONG

WHY_NOT = lacking()
pytestmark = [*LONG, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
INTERRUPTS = int(os.environ.get("KOALESCE_CRASHES", "10"))
_PATIENCE = 600.0
_REQUESTS = 38  # that making a cluster of two nodes takes, more or less
_COMM = 15  # characters that the kernel keeps of a program's name (proc_pid_comm(5))
_HERE = Path(__file__).parents[2]


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHcloud]:
    """A project of it that Terraform's plugin and ours ask; at the end nothing may be left there, or here."""
    made = FakeHcloud()
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HCLOUD_TOKEN", TOKEN)
    with serving(made) as url:
        monkeypatch.setenv("HCLOUD_ENDPOINT", url)
        yield made
        assert made.left() == []
    assert Ledger().entries() == []
    deadline = time.monotonic() + _PATIENCE
    while (running := [_command(pid) for pid in _running(tmp_path / "state")]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running == []
    folders = [path for path in (tmp_path / "state").glob("*/*") if path.is_dir()]
    assert [str(path) for path in folders if [each.name for each in path.iterdir()] != [terraform.LOG_FILE]] == []


def session(name: str = "c1", **fields: Any) -> ClusterSession:
    cancel = fields.pop("cancel", None)
    return ClusterSession(request(name, **fields), provider=WithoutMachines("hcloud", settling=1.0), cancel=cancel)


def koalesce(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*koalesce_command(), *words], capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL, check=False
    )  # fmt: skip


def test_everything_bears_marks_and_goes(cloud: FakeHcloud, tmp_path: Path) -> None:
    made = session(settings={"authorizedKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKnzYCI ci@example.com"]})

    cluster = made.up()

    own = [thing for kind, things in cloud.things.items() if kind != "primary_ips" for thing in things.values()]
    assert len(own) == 5
    for thing in own:
        assert {**thing["labels"], "koalesce-expires": ""} == {
            "koalesce-cluster": "c1", "koalesce-run": "run-1", "koalesce-expires": "",
        }  # fmt: skip
    (firewall,) = cloud.things["firewalls"].values()
    assert {(rule["port"], *rule["source_ips"]) for rule in firewall["rules"]} == {
        (port, "192.0.2.0/24") for port in ("22", "2379", "6443")
    }
    for server in cloud.things["servers"].values():
        assert server["public_net"]["firewalls"] == [{"id": firewall["id"], "status": "applied"}]
        assert "ci@example.com" in server["user_data"]
        assert "PRIVATE" not in server["user_data"]
    key = tmp_path / "state" / "clusters" / "c1" / "ssh" / "id_ed25519"
    assert key.stat().st_mode & 0o777 == 0o600
    asked = json.loads((key.parents[1] / "asked.json").read_text())["settings"]
    assert [machine["address"] for machine in asked["machines"]] == ["10.80.0.10", "10.80.0.11"]
    assert key.read_text() not in made.folder.joinpath("terraform.tfstate").read_text()
    assert [node.name for node in cluster.nodes] == ["cp", "w"]

    made.down()


def test_plain_terraform_makes_and_destroys_one_by_the_example(
    cloud: FakeHcloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = asset("terraform", "hcloud")
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in root.glob("*.tf"):
        (folder / file.name).write_bytes(file.read_bytes())
    example = (root / "terraform.tfvars-example").read_text()
    (folder / "terraform.tfvars").write_text(
        f"{example}\nkoalesce_command = {json.dumps([sys.executable, '-P', str(STEP)])}\n"
    )

    run_terraform(folder, "init", f"-plugin-dir={plugin_mirror()}")
    run_terraform(folder, "apply", "-auto-approve")
    made = sorted(each for each in cloud.left() if not each.startswith("primary_ip"))
    told = json.loads(run_terraform(folder, "output", "-json"))
    planned = run_terraform(folder, "plan")
    run_terraform(folder, "destroy", "-auto-approve")

    assert made == [
        "firewall dev-by-hand", "network dev-by-hand", "server dev-control-plane", "server dev-worker-1", "ssh_key dev-by-hand",
    ]  # fmt: skip
    assert told["cleanup"]["value"]["argv"][-5:] == ["sweep", "--provider", "hcloud", "--run", "by-hand"]
    assert "No changes." in planned
    assert not (folder / "cluster").exists()


def run_terraform(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [find_binary(), *words, "-no-color"], cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_cluster_whose_machines_become_no_nodes_is_destroyed(
    cloud: FakeHcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEP_FAILS", "w (root@192.0.2.7) doesn't answer")

    with pytest.raises(ProvisionError, match=r"w \(root@192\.0\.2\.7\) doesn't answer"):
        session().up()


@pytest.mark.parametrize(
    ("settings", "said", "whose"),
    [
        ({"location": "xyz1"}, "location", "xyz1 is providers.hcloud.location"),
        ({"serverType": "cx99"}, "server type cx99 not found", "cx99 is providers.hcloud.serverType"),
        (
            {"image": "debian-3"},
            "image debian-3 for architecture x86 not found",
            "debian-3 is providers.hcloud.image",
        ),
    ],
)
def test_what_the_cloud_does_not_have_is_said_once(
    cloud: FakeHcloud, settings: dict[str, str], said: str, whose: str
) -> None:
    with pytest.raises(ProvisionError) as raised:
        session(settings=settings).up()

    assert raised.value.message.count(said) == 1, raised.value.message
    assert (raised.value.hint or "").startswith(f"{whose}; all it said: ")


def test_a_quota_is_said(cloud: FakeHcloud) -> None:
    cloud.quota = 1

    with pytest.raises(ProvisionError, match="server limit exceeded"):
        session().up()


def test_a_token_that_is_not_taken_is_said_before_anything_is_begun(
    cloud: FakeHcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "u" * 64)

    with pytest.raises(ProvisionError, match="Hetzner Cloud doesn't take the token in HCLOUD_TOKEN"):
        session().up()

    assert {method for method, _ in cloud.requests} == {"GET"}


def test_a_token_that_is_taken_no_longer_is_said(cloud: FakeHcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    made = session()
    made.check()
    monkeypatch.setattr(made, "check", lambda: None)
    monkeypatch.setenv("HCLOUD_TOKEN", "u" * 64)

    with pytest.raises(TeardownError, match="unable to authenticate") as raised:
        made.up()

    assert "doesn't take the token in HCLOUD_TOKEN" in raised.value.message
    monkeypatch.setenv("HCLOUD_TOKEN", TOKEN)
    made.down()


def test_a_destroy_that_fails_says_how_it_goes_on(cloud: FakeHcloud) -> None:
    made = session()
    made.up()
    made.keep()
    cloud.fault = lambda method, path: Fault(status=403) if method == "DELETE" else None

    refused = subprocess.Popen(
        [*koalesce_command(), "down", "c1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = ""
    with contextlib.suppress(subprocess.TimeoutExpired):
        said, _ = refused.communicate(timeout=_PATIENCE)

    assert (refused.returncode, "koalesce down c1" in said) == (4, True), said
    cloud.fault = lambda method, path: None
    assert koalesce("down", "c1").returncode == 0


def test_what_another_machine_has_made_is_swept_by_its_run(
    cloud: FakeHcloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session()
    made.up()
    made.keep()

    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "elsewhere"))
    left_alone = koalesce("sweep", "--provider", "hcloud")
    swept = koalesce("sweep", "--provider", "hcloud", "--run", "run-1")

    assert (left_alone.returncode, left_alone.stdout.startswith("left alone: 5 of run run-1, until ")) == (0, True)
    assert (swept.returncode, cloud.left()) == (0, [])
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    assert koalesce("down", "c1").returncode == 0


def test_a_state_that_another_holds_is_said(cloud: FakeHcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    made = session()
    made.up()
    monkeypatch.setattr(terraform, "_LOCK_TIMEOUT", "0s")
    locking = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", locking, str(made.folder / "terraform.tfstate")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ProvisionError, match="Error acquiring the state lock"):
            terraform.Terraform(made.folder).destroy()
        other.communicate()

    made.down()


def test_a_plugin_that_cannot_be_had_is_said(
    cloud: FakeHcloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cli.tfrc").write_text(
        'provider_installation {\n  filesystem_mirror {\n    path = "/nonexistent"\n  }\n}\n'
    )
    monkeypatch.setenv("KOALESCE_TERRAFORM_PLUGINS", str(tmp_path / "none"))
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "cli.tfrc"))

    with pytest.raises(ProvisionError) as raised:
        session().up()

    assert "hetznercloud/hcloud" in raised.value.message
    assert raised.value.hint is not None
    assert "a Terraform plugin could not be had" in raised.value.hint


def test_a_plugin_that_outlives_us_and_terraform_is_ended_before_all_else(cloud: FakeHcloud, tmp_path: Path) -> None:
    """Both are killed while a server is being made, and the plugin doesn't notice: it would go on, and nobody know of what it makes."""
    plugins: set[int] = set()
    turns = threading.Lock()  # servers are asked for side by side

    def while_a_server_is_made(kill: Callable[[], None]) -> Callable[[str, str], None]:
        def fault(method: str, path: str) -> None:
            with turns:
                if (method, path) == ("POST", "/servers") and not plugins:
                    plugins.update(
                        pid for pid in _running(tmp_path / "state") if "terraform-provider-" in _command(pid)
                    )
                    for pid in plugins:
                        os.kill(pid, signal.SIGSTOP)
                    kill()

        return fault

    _kill_runner(cloud, while_a_server_is_made, with_terraform=True)
    before = set(_running(tmp_path / "state"))
    try:
        swept = koalesce("sweep")
        after = _running(tmp_path / "state")
    finally:
        for pid in before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    assert len(plugins) == 1
    assert before.issuperset(plugins)
    assert (swept.returncode, after) == (0, []), swept.stdout + swept.stderr


class Moment:
    """The request of a cluster's making at which something happens; requests before and after are troubled now and then."""

    def __init__(self, chance: random.Random, act: Callable[[], None], *, trouble: float = 0.0) -> None:
        self._chance, self._act, self._trouble = chance, act, trouble
        self._left = chance.randrange(1, _REQUESTS)
        self._lock = threading.Lock()

    def __call__(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self._left -= 1
            is_now, chance = self._left == 0, self._chance.random()
            fault = self._chance.choice(
                [Fault(status=429), Fault(status=500), Fault(loses=True), Fault(loses=False), None]
            )
        if is_now:
            self._act()
            return fault
        return fault if chance < self._trouble else None


def _terraforms() -> Iterator[int]:
    """The processes of Terraform that this one has started."""
    begun = find_binary().name[:_COMM]
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, rest = (entry / "stat").read_text().rpartition(")")
            if name.endswith(f"({begun}") and int(rest.split()[1]) == os.getpid():
                yield int(entry.name)


def _kill_terraform() -> None:
    for pid in _terraforms():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _interrupted(cloud: FakeHcloud, chance: random.Random) -> None:
    """^C while it is made."""
    cancel = threading.Event()
    cloud.fault = Moment(chance, cancel.set)
    made = session(cancel=cancel)
    with contextlib.suppress(Interrupted):
        made.up()
    made.down()


def _terraform_killed(cloud: FakeHcloud, chance: random.Random) -> None:
    """Terraform is killed while it makes something."""
    cloud.fault = Moment(chance, _kill_terraform)
    made = session()
    with contextlib.suppress(KoalesceError):
        made.up()
    made.down()


def _troubled(cloud: FakeHcloud, chance: random.Random) -> None:
    """The API fails, is busy, and loses requests and answers all the time."""
    cloud.fault = Moment(chance, lambda: None, trouble=0.1)
    made = session()
    with contextlib.suppress(ProvisionError):
        made.up()
    made.down()


def _kill_runner(
    cloud: FakeHcloud,
    moment: Callable[[Callable[[], None]], Callable[[str, str], Fault | None]],
    *,
    with_terraform: bool,
) -> None:
    """Make a cluster by a process of its own, which is killed, and its Terraform if that's to be, when the moment says so."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.clouds", "c1"], cwd=_HERE, start_new_session=True, env={**os.environ, "PYTHONPATH": str(_HERE)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as runner:  # fmt: skip
        children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children")

        def kill() -> None:
            pids = [int(word) for word in children.read_text().split()] if with_terraform else []
            for pid in (runner.pid, *pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        cloud.fault = moment(kill)
        runner.wait(timeout=_PATIENCE)


def _running(state: Path) -> list[int]:
    """The processes that were started for a state of ours."""
    mark, found = f"KOALESCE_STATE_DIR={state}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _runner_killed(cloud: FakeHcloud, chance: random.Random, *, loses_state: bool = False) -> None:
    """We are killed; Terraform goes on, unless its state is to be lost: then it is killed, too."""
    _kill_runner(cloud, lambda kill: Moment(chance, kill), with_terraform=loses_state)
    if loses_state:
        for path in Path(os.environ["KOALESCE_STATE_DIR"]).glob("terraform/*/terraform.tfstate*"):
            path.unlink()
    swept = koalesce("down", "--all")
    assert swept.returncode == 0, swept.stdout + swept.stderr


def _state_lost(cloud: FakeHcloud, chance: random.Random) -> None:
    """We are killed, and so is Terraform, whose state is lost."""
    _runner_killed(cloud, chance, loses_state=True)


@pytest.mark.parametrize("number", range(INTERRUPTS))
def test_nothing_is_left_whenever_it_is_interrupted(cloud: FakeHcloud, number: int) -> None:
    kinds = [_interrupted, _terraform_killed, _runner_killed, _state_lost, _troubled]

    kinds[number % len(kinds)](cloud, random.Random(number))
