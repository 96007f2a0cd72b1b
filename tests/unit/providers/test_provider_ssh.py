"""The provider ssh: which machines it takes, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from koalesce.cluster import ClusterRequest, DiskRequest, FixtureRequest, NodeRequest
from koalesce.errors import UsageError
from koalesce.providers import machine_list
from koalesce.providers.ssh import SshProvider

NODES = (NodeRequest(name="cp", role="control-plane"), NodeRequest(name="w", role="worker"))
MACHINES = {"machines": ["192.0.2.10", "192.0.2.11"]}


def request(**fields: Any) -> ClusterRequest:
    return ClusterRequest(
        **{
            "name": "a",
            "run_id": "r",
            "provider": "ssh",
            "kubernetes": "",
            "nodes": NODES,
            "settings": MACHINES,
            **fields,
        }
    )


def test_a_request_gets_an_exact_version() -> None:
    assert SshProvider().resolve(request(kubernetes="1.37")).kubernetes.startswith("1.37.")


@pytest.mark.parametrize(
    ("fields", "modes"),
    [
        ({}, ("static", "static")),
        ({"etcd": {"mode": "process"}, "control_plane": "process"}, ("process", "process")),
        ({"etcd": {"members": 1}}, ("static", "static")),
        ({"etcd": {"mode": "external", "endpoints": ["http://192.0.2.20:2379"]}}, ("external", "static")),
    ],
)
def test_a_control_plane_is_of_static_pods_unless_its_spec_says_otherwise(
    fields: dict[str, Any], modes: tuple[str, str]
) -> None:
    found = SshProvider().resolve(request(**fields))

    assert (found.etcd["mode"], found.control_plane) == modes


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"fixtures": (FixtureRequest(name="f"),)}, "fixtures"),
        ({"ip_families": ("IPv4", "IPv6")}, r"cluster\.ipFamilies"),
        ({"etcd": {"mode": "external", "fixtures": ["e1"]}}, r"etcd\.fixtures"),
        ({"addons": ("local-path",)}, r"cluster\.addons"),
        ({"nodes": ()}, "nodes: 0"),
        ({"nodes": (NODES[0], NodeRequest(name="b", role="control-plane"))}, "several control planes"),
        ({"nodes": (NodeRequest(name="a", role="control-plane", cpu=2),)}, r"cluster\.nodes\[\]\.cpu"),
        (
            {"nodes": (NodeRequest(name="a", role="control-plane", disks=(DiskRequest(path="/d", size=1),)),)},
            r"cluster\.nodes\[\]\.disks",
        ),
    ],
)
def test_what_given_machines_cannot_be_is_refused_by_the_name_that_specs_use(
    fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=rf"can't serve {named}\n"):
        SshProvider().resolve(request(**fields))


def test_too_few_machines_are_said() -> None:
    with pytest.raises(UsageError, match="the spec has 2 nodes, and there is 1 machine for them"):
        SshProvider().resolve(request(settings={"machines": ["192.0.2.10"]}))


def test_without_machines_it_says_how_to_name_them_once_a_cluster_is_to_be_made() -> None:
    wanted = SshProvider().resolve(request(settings={}))

    with pytest.raises(UsageError) as raised:
        SshProvider().confirm(wanted)

    assert raised.value.hint is not None
    assert "--machines FILE" in raised.value.hint


def test_files_that_are_not_there_are_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    settings = {**MACHINES, "knownHosts": str(tmp_path / "known")}

    SshProvider().confirm(request(settings=settings))
    with pytest.raises(UsageError, match=f"there is no file {tmp_path}/key"):
        SshProvider().confirm(request(settings={**settings, "key": str(tmp_path / "key")}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"machines": []}, r"\.machines: .*at least 1"),
        ({"machines": ["a b"]}, r'\.machines\[0\]\.host: "a b" doesn\'t match '),
        ({"machines": [{"host": "a", "prot": 1}]}, r'\.machines\[0\]\.prot: unknown setting; did you mean "port"\?'),
        ({"machines": ["a"], "user": 'x" y'}, r"\.user: "),
        ({"machines": ["-oProxyCommand=x"]}, r"\.machines\[0\]\.host: "),
        ({"known_host": "x", "machines": ["a"]}, r'\.known_host: unknown setting; did you mean "knownHosts"'),
    ],
)
def test_a_list_that_is_none_is_refused_with_the_place(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"providers\.ssh{message}"):
        SshProvider().resolve(request(settings=settings))


@pytest.mark.parametrize(
    ("machines", "field", "message"),
    [
        (["10.244.0.9"], "pod_cidr", "the machine 10.244.0.9 has an address of podCIDR 10.244.0.0/16"),
        (
            [{"host": "m.example", "address": "10.96.7.8"}],
            "service_cidr",
            "10.96.7.8 has an address of serviceCIDR 10.96.0.0/16",
        ),
    ],
)
def test_machines_with_addresses_of_pods_or_services_are_refused(machines: list[Any], field: str, message: str) -> None:
    named = {"machines": [*machines, "192.0.2.10"]}

    with pytest.raises(UsageError, match=message):
        SshProvider().resolve(request(settings=named))

    SshProvider().resolve(request(settings=named, **{field: "172.30.0.0/16"}))


def test_a_file_names_machines_with_paths_from_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "machines.yaml"
    file.write_text(
        "machines:\n- 192.0.2.10\n- {host: other.example, port: 2222, user: me, key: /other, address: 10.0.0.2}\nknownHosts: known\nkey: key\n"
    )

    found = machine_list.of_settings(machine_list.read(file)).settings()

    assert found == {
        "known_hosts": f"{tmp_path}/known",
        "machines": [
            {"host": "192.0.2.10", "port": 22, "user": "root", "key": f"{tmp_path}/key", "address": ""},
            {"host": "other.example", "port": 2222, "user": "me", "key": "/other", "address": "10.0.0.2"},
        ],
    }


def test_a_file_may_be_a_plain_list(tmp_path: Path) -> None:
    file = tmp_path / "machines.yaml"
    file.write_text("[192.0.2.10, 192.0.2.11]")

    assert machine_list.read(file) == {"machines": [{"host": "192.0.2.10"}, {"host": "192.0.2.11"}]}


@pytest.mark.parametrize("text", ["machines: [", "just a text", "machines: {a: 1}"])
def test_a_file_that_is_no_list_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "machines.yaml"
    file.write_text(text)

    with pytest.raises(UsageError, match=str(file)):
        machine_list.read(file)


def test_it_makes_no_faults_and_refuses_what_only_a_supervisor_can_do() -> None:
    provider = SshProvider()

    assert (provider.faults("a"), provider.fault_kinds) == (None, frozenset())
