"""How machines are taken, and brought back to how they were: nothing of others is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from koalesce import process
from koalesce.errors import ProvisionError, TeardownError
from koalesce.local import nodestate
from koalesce.local.ledger import Entry, Ledger
from koalesce.machines import client, removal, request, shell
from koalesce.machines.request import Account
from tests.unit.machines.told import network

ACCOUNT = Account(node="cp", host="192.0.2.10", port=22, user="root", key="", address="192.0.2.10")


class FakeShell(shell.Shell):
    """A machine that answers what it's told to, and remembers the scripts."""

    __slots__ = ("answers", "codes", "is_on", "scripts", "stdin")

    def __init__(self, folder: Path, **answers: str) -> None:
        super().__init__(account=ACCOUNT, folder=folder, known_hosts="/known")
        for name, value in {"answers": answers, "scripts": [], "codes": {}, "stdin": [], "is_on": True}.items():
            object.__setattr__(self, name, value)

    def open(self) -> None:
        if not self.is_on:
            raise shell.Unreachable(f"{self.account} doesn't answer")

    def close(self) -> None:
        pass

    def run(
        self,
        script: str,
        *,
        stdin: bytes | BinaryIO | None = None,
        timeout: float = 60.0,
        cancel: process.Cancel | None = None,
    ) -> process.Result:
        kind = kind_of(script)
        self.scripts.append(kind)
        self.stdin.append(stdin)
        answers = self.answers.get(kind, "")
        out = answers.pop(0) if isinstance(answers, list) else answers
        code = self.codes.get(kind, 0)
        return process.Result(command=("sh",), code=code, stdout=out.encode(), stderr=b"", seconds=0.0)


def kind_of(script: str) -> str:
    """A script by what it does; a command of a fix is itself."""
    known = {
        nodestate.SCRIPT: "look", "if [ -e /etc/koalesce/record.json ]; then": "record", "units=$(": "end", "rm -rf --one": "files",
        "mkdir /etc/koalesce": "claim", "datastore.json": "etcd", "if [ -e /etc/koalesce/identity": "owner", "[ -e /etc/koalesce/record.json": "unclaim", "printf %s": "settings", "modprobe overlay": "modules", "find /proc/sys": "read settings",
    }  # fmt: skip
    return next((name for part, name in known.items() if part in script), script)


def record(identity: str, first: str) -> str:
    return json.dumps({"identity": identity, "network": first, "settings": {"net/ipv4/ip_forward": "0"}})


def test_a_machine_is_claimed_with_how_it_was(tmp_path: Path) -> None:
    machine = FakeShell(
        tmp_path, look=network(), **{"read settings": "/proc/sys/net/ipv4/ip_forward:0\n/proc/sys/kernel/panic:5\n"}
    )

    removal.claim(machine, "c1", "c1-abc")

    assert machine.scripts == ["look", "modules", "read settings", "claim"]
    assert json.loads(machine.stdin[-1]) == {
        "identity": "c1-abc", "network": network(), "settings": {"net/ipv4/ip_forward": "0", "kernel/panic": "5"},
    }  # fmt: skip
    assert machine.is_taken


def test_a_machine_that_another_cluster_has_taken_meanwhile_is_refused(tmp_path: Path) -> None:
    machine = FakeShell(tmp_path, look=network(), claim="it is in use by the cluster other")
    machine.codes["claim"] = 3

    with pytest.raises(ProvisionError, match="it can't be taken: it is in use by the cluster other"):
        removal.claim(machine, "c1", "c1-abc")


@pytest.mark.parametrize(
    ("found", "scripts"),
    [("", ["record", "unclaim"]), (record("another-cluster", network()), ["record"])],
    ids=["nothing", "another cluster"],
)
def test_of_a_machine_that_is_not_the_clusters_nothing_is_touched(
    tmp_path: Path, found: str, scripts: list[str]
) -> None:
    machine = FakeShell(tmp_path, record=found)

    removal.remove(machine, "c1-abc")

    assert machine.scripts == scripts


def test_services_end_before_networks_settings_and_files_go(tmp_path: Path) -> None:
    looks: Any = [network("cni0"), network()]
    settings: Any = ["/proc/sys/net/ipv4/ip_forward:1\n/proc/sys/net/other:7\n", "/proc/sys/net/ipv4/ip_forward:0\n"]
    machine = FakeShell(tmp_path, record=record("c1-abc", network()), look=looks, **{"read settings": settings})

    removal.remove(machine, "c1-abc")

    assert machine.scripts == [
        "record", "end", "etcd", "look", "ip link del cni0", "look", "read settings", "settings", "read settings", "files",
    ]  # fmt: skip


def test_what_comes_and_goes_by_itself_is_left_alone(tmp_path: Path) -> None:
    first = network(
        routes="default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.10\n",
        routes6="default via fe80::1 dev eth0 proto ra metric 1024 expires 1797sec\n",
    )
    now = network(routes="default via 192.0.2.2 dev eth0 proto dhcp src 192.0.2.11\n").replace(
        "192.0.2.10", "192.0.2.11"
    )
    machine = FakeShell(tmp_path, record=record("c1-abc", first), look=now)

    removal.remove(machine, "c1-abc")

    assert machine.scripts == ["record", "end", "etcd", "look", "read settings", "read settings", "files"]


def test_routes_and_rules_of_the_cluster_go_also_those_of_kube_proxy(tmp_path: Path) -> None:
    rules = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n"
    looks: Any = [network(routes="10.244.1.0/24 via 192.0.2.11 dev eth0\n", iptables=rules), network()]
    machine = FakeShell(tmp_path, record=record("c1-abc", network()), look=looks)

    removal.remove(machine, "c1-abc")

    (fixed,) = [script for script in machine.scripts if "iptables-restore" in script]
    assert ":KUBE-SERVICES" not in fixed
    assert ":PREROUTING ACCEPT" in fixed
    assert "ip route del 10.244.1.0/24 via 192.0.2.11 dev eth0" in fixed


def test_what_cannot_be_put_back_is_said_and_the_record_stays(tmp_path: Path) -> None:
    machine = FakeShell(tmp_path, record=record("c1-abc", network()), look=network("tun0"))

    with pytest.raises(ProvisionError, match="its network isn't as it was: link tun0 was not there at first"):
        removal.remove(machine, "c1-abc")

    assert "files" not in machine.scripts


def test_what_stays_in_an_etcd_is_said_once_the_machine_is_as_it_was(tmp_path: Path) -> None:
    answer = {"id": "https://e1:2379", "outcome": "dropped", "reason": "i/o timeout"}
    told = json.dumps({"sources": [{"id": "etcd", "results": [answer]}]})
    machine = FakeShell(tmp_path, record=record("c1-abc", network()), look=network(), etcd=told)

    with pytest.raises(ProvisionError, match=r"stays there, below /koalesce: https://e1:2379: i/o timeout"):
        removal.remove(machine, "c1-abc")

    assert machine.scripts[-1] == "files"


def test_keys_in_an_etcd_are_gone_when_one_of_its_endpoints_says_so(tmp_path: Path) -> None:
    answers = [{"id": "https://e1:2379", "outcome": "refused"}, {"id": "https://e2:2379", "http": {"status": 200}}]
    told = json.dumps({"sources": [{"id": "etcd", "results": answers}]})
    machine = FakeShell(tmp_path, record=record("c1-abc", network()), look=network(), etcd=told)

    removal.remove(machine, "c1-abc")

    assert machine.scripts[-1] == "files"


def test_a_damaged_record_is_an_error_that_says_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=r"/etc/koalesce/record\.json is damaged"):
        removal.record(FakeShell(tmp_path, record="{}"))


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """A cluster whose machine's ssh isn't to be had."""
    folder = tmp_path / "c1"
    folder.mkdir()
    data = {
        "name": "c1", "kubernetes_version": "1.37.2", "state_dir": str(folder), "nodes": [{"name": "cp", "role": "control-plane"}],
        "settings": {"known_hosts": "/nonexistent", "machines": [{"host": "127.0.0.1", "port": 1}]},
    }  # fmt: skip
    wanted = request.parse(json.dumps(data))
    (folder / "machines.json").write_text(request.saved(wanted, "c1-abc"))
    shell.write_config(folder, wanted.accounts, wanted.known_hosts)
    return Ledger(tmp_path).change("c1", provider="ssh", folder=str(folder), keep=True)


def test_a_cluster_that_has_put_nothing_on_its_machines_ends_without_them(tmp_path: Path, entry: Entry) -> None:
    before = client.remains(entry)

    client.down("c1", ledger=Ledger(tmp_path))

    assert before == [f"folder {entry.folder}"]
    assert client.remains(entry) == []
    assert Ledger(tmp_path).find("c1") is None


def test_a_machine_that_cannot_be_reached_keeps_its_cluster_known(
    tmp_path: Path, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text("#!/bin/sh\necho 'ssh: connect to host: Connection refused' >&2\nexit 255\n")
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    (Path(entry.folder) / "cp.taken").touch()

    with pytest.raises(
        TeardownError, match="refuses connections on port 1; what the cluster has left there stays"
    ) as raised:
        client.down("c1", ledger=Ledger(tmp_path))

    assert raised.value.command == "koalesce down c1"
    assert Ledger(tmp_path).find("c1") is not None
    assert "can't be told" in client.remains(entry)[0]


SETTINGS = {"known_hosts": "/known", "machines": [{"host": "192.0.2.10"}, {"host": "192.0.2.11"}]}


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[FakeShell]:
    """Two machines, of which the first has the cluster c1."""
    whole: Any = {"record": record("c1-abc", network()), "look": network()}
    found = [FakeShell(tmp_path, owner="c1-abc", **whole), FakeShell(tmp_path, owner="c1-other-abc")]
    monkeypatch.setattr(client, "_shells", lambda *_: {str(index): each for index, each in enumerate(found)})
    return found


def test_a_cluster_that_nobody_here_knows_is_removed_where_machines_say_that_they_have_it(
    machines: list[FakeShell],
) -> None:
    freed = client.free("c1", SETTINGS, command="x")

    assert freed == ["192.0.2.10"]
    assert machines[0].scripts[-1] == "files"
    assert machines[1].scripts == ["owner"]


def test_a_machine_that_does_not_tell_whether_it_has_a_cluster_is_said_with_the_command_that_goes_on(
    machines: list[FakeShell],
) -> None:
    object.__setattr__(machines[1], "is_on", False)

    with pytest.raises(TeardownError, match="doesn't answer") as raised:
        client.free("c1", SETTINGS, command="koalesce down c1 --machines FILE")

    assert raised.value.command == "koalesce down c1 --machines FILE"
    assert machines[0].scripts[-1] == "files"
