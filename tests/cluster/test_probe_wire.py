"""The probe against real network stacks: a source, a router and a target in network namespaces of their own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koalesce.toolchain.recipes import SHIPPED

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("go") is None, reason="the probe is built with Go"),
]
HERE = Path(__file__).parent / "wire"
SOURCE, ROUTER, TARGET = (f"koaltest-{os.getpid()}-{role}" for role in ("s", "r", "t"))


def sh(*lines: str) -> None:
    for line in lines:
        subprocess.run(line.split(), check=True, capture_output=True)


def inside(namespace: str, *command: str | Path) -> list[str]:
    return ["ip", "netns", "exec", namespace, *map(str, command)]


@contextlib.contextmanager
def serving(namespace: str, *command: str | Path) -> Iterator[None]:
    with subprocess.Popen(inside(namespace, sys.executable, *command), stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"listening\n"
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("probe") / "koalesce-probe"
    environment = {**os.environ, "CGO_ENABLED": "0"}
    subprocess.run(
        ["go", "build", "-trimpath", "-o", binary, "."], cwd=SHIPPED / "probe-0.5.0", env=environment, check=True
    )
    return binary


def await_links(probe: Path) -> None:
    """IPv6 links take a moment after they are up."""
    deadline = time.monotonic() + 60
    targets = [{"type": "tcp", "host": host, "port": 8080, "limit": 1.0} for host in ("10.99.2.2", "fd99:2::2")]
    while time.monotonic() < deadline:
        if {result["outcome"] for result in look(probe, *targets)} == {"allowed"}:
            return
    pytest.fail("the namespaces do not reach each other")


@pytest.fixture(scope="module")
def network(probe: Path) -> Iterator[None]:
    try:
        sh(*(f"ip netns add {name}" for name in (SOURCE, ROUTER, TARGET)))
        for name, other, net in ((SOURCE, "s0", 1), (TARGET, "t0", 2)):
            sh(
                f"ip -n {ROUTER} link add {other} type veth peer name eth0 netns {name}",
                *(
                    f"ip -n {where} link set {link} up"
                    for where, link in ((name, "lo"), (name, "eth0"), (ROUTER, other))
                ),
                f"ip -n {name} address add 10.99.{net}.2/24 dev eth0",
                f"ip -n {name} address add fd99:{net}::2/64 dev eth0 nodad",
                f"ip -n {ROUTER} address add 10.99.{net}.1/24 dev {other}",
                f"ip -n {ROUTER} address add fd99:{net}::1/64 dev {other} nodad",
                f"ip -n {name} route add 10.99.0.0/16 via 10.99.{net}.1",
                f"ip -n {name} -6 route add fd99::/16 via fd99:{net}::1",
            )
        sh(
            *(
                f"ip netns exec {ROUTER} sysctl -qw {key}"
                for key in (
                    "net.ipv4.ip_forward=1",
                    "net.ipv6.conf.all.forwarding=1",
                    "net.ipv4.icmp_ratelimit=0",
                    "net.ipv6.icmp.ratelimit=0",
                )
            ),
            *(
                f"ip netns exec {TARGET} sysctl -qw {key}"
                for key in ("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
            ),
            *(
                f"ip -n {ROUTER} route add {kind} 10.99.3.{last}"
                for last, kind in enumerate(("prohibit", "unreachable", "blackhole"), 1)
            ),
            *(
                f"ip -n {ROUTER} -6 route add {kind} fd99:3::{last}"
                for last, kind in enumerate(("prohibit", "unreachable", "blackhole"), 1)
            ),
            f"ip -n {ROUTER} route add blackhole 10.99.3.4",
            *(
                f"ip -n {SOURCE} route add {kind} 10.99.4.{last}"
                for last, kind in enumerate(("prohibit", "unreachable", "blackhole"), 1)
            ),
        )
        with serving(TARGET, HERE / "server.py"), serving(ROUTER, HERE / "firewall.py", "s0", "10.99.3.4"):
            await_links(probe)
            yield
    finally:
        for name in (SOURCE, ROUTER, TARGET):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def look(probe: Path, *targets: dict[str, Any]) -> list[dict[str, Any]]:
    request = {"sources": [{"id": "s", "targets": [{"id": "", "limit": 5.0, **target} for target in targets]}]}
    done = subprocess.run(inside(SOURCE, probe), input=json.dumps(request).encode(), capture_output=True, check=True)
    source = json.loads(done.stdout)["sources"][0]
    assert "error" not in source
    return source["results"]


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("host", "port", "outcome", "icmp"),
    [
        ("10.99.2.2", 0, "allowed", None),
        ("fd99:2::2", 0, "allowed", None),
        ("10.99.3.1", 80, "rejected", {"type": 3, "code": 13, "from": "10.99.1.1"}),
        ("10.99.3.2", 80, "rejected", {"type": 3, "code": 1, "from": "10.99.1.1"}),
        ("10.99.3.3", 80, "dropped", None),
        ("10.99.3.4", 80, "rejected", {"type": 3, "code": 3, "from": "10.99.1.1"}),
        ("10.99.9.9", 80, "rejected", {"type": 3, "code": 0, "from": "10.99.1.1"}),
        ("10.99.2.77", 80, "dropped", None),
        ("fd99:3::1", 80, "rejected", {"type": 1, "code": 1, "from": "fd99:1::1"}),
        ("fd99:3::2", 80, "rejected", {"type": 1, "code": 0, "from": "fd99:1::1"}),
        ("fd99:3::3", 80, "dropped", None),
        ("10.99.4.1", 80, "error", None),
        ("10.99.4.2", 80, "error", None),
        ("10.99.4.3", 80, "error", None),
        ("203.0.113.1", 80, "error", None),
        ("no-such-name.invalid", 80, "error", None),
    ],
)
def test_outcomes(probe: Path, kind: str, host: str, port: int, outcome: str, icmp: Any) -> None:
    port = port or {"tcp": 8080, "udp": 8081}[kind]

    limit = 1.0 if outcome == "dropped" else 5.0
    result = look(probe, {"type": kind, "host": host, "port": port, "limit": limit})[0]

    assert (result["outcome"], result.get("icmp")) == (outcome, icmp), result


@pytest.mark.usefixtures("network")
def test_a_closed_port_is_refused_by_the_target_itself(probe: Path) -> None:
    tcp, udp, udp6 = look(
        probe,
        {"type": "tcp", "host": "10.99.2.2", "port": 9},
        {"type": "udp", "host": "10.99.2.2", "port": 9},
        {"type": "udp", "host": "fd99:2::2", "port": 9},
    )

    assert (tcp["outcome"], tcp.get("icmp")) == ("refused", None)
    assert (udp["outcome"], udp["icmp"]) == ("refused", {"type": 3, "code": 3, "from": "10.99.2.2"})
    assert (udp6["outcome"], udp6["icmp"]) == ("refused", {"type": 1, "code": 4, "from": "fd99:2::2"})


@pytest.mark.usefixtures("network")
def test_a_neighbour_that_does_not_answer_is_dropped_whatever_the_limit(probe: Path) -> None:
    targets = [(kind, host) for kind in ("tcp", "udp") for host in ("10.99.1.77", "fd99:1::77")]

    results = look(probe, *({"type": kind, "host": host, "port": 80, "limit": 5.0} for kind, host in targets))

    assert {result["outcome"] for result in results} == {"dropped"}
    assert all("neighbour" in result["reason"] for result in results)


@pytest.mark.usefixtures("network")
def test_the_server_says_which_address_it_saw(probe: Path) -> None:
    results = look(
        probe,
        {"type": "tcp", "host": "10.99.2.2", "port": 8080, "askSource": True},
        {"type": "udp", "host": "10.99.2.2", "port": 8081, "askSource": True},
        {"type": "tcp", "host": "fd99:2::2", "port": 8080, "askSource": True},
    )

    assert [result["seenSource"] for result in results] == ["10.99.1.2", "10.99.1.2", "fd99:1::2"]
    assert [result["local"].rpartition(":")[0] for result in results] == ["10.99.1.2", "10.99.1.2", "[fd99:1::2]"]


@contextlib.contextmanager
def mtu(namespace: str, link: str, size: int) -> Iterator[None]:
    sh(f"ip -n {namespace} link set {link} mtu {size}")
    try:
        yield
    finally:
        sh(f"ip -n {namespace} link set {link} mtu 1500")
        sh(*(f"ip -n {SOURCE} {family} route flush cache" for family in ("-4", "-6")))  # what was learnt of the path


@pytest.mark.usefixtures("network")
def test_a_packet_of_exactly_the_paths_mtu_goes_and_a_longer_one_is_rejected_by_whom_it_is_too_long_for(
    probe: Path,
) -> None:
    def udp(host: str, size: int, *, whole: bool = True) -> dict[str, Any]:
        return {"type": "udp", "host": host, "port": 8081, "size": size, "whole": whole}

    whole = look(probe, udp("10.99.2.2", 1500), udp("fd99:2::2", 1500))
    own = look(probe, udp("10.99.2.2", 1501), udp("fd99:2::2", 1501))
    with mtu(ROUTER, "t0", 1400):
        fitting = look(probe, udp("10.99.2.2", 1400), udp("fd99:2::2", 1400), udp("10.99.2.2", 1401, whole=False))
        routers = look(probe, udp("10.99.2.2", 1401), udp("fd99:2::2", 1401))
    cut = look(probe, udp("10.99.2.2", 3000, whole=False))

    assert {result["outcome"] for result in (*whole, *fitting, *cut)} == {"allowed"}, (whole, fitting, cut)
    assert not any("failure" in result for result in (*whole, *fitting, *cut))
    assert [(result["outcome"], result["mtu"], result.get("icmp")) for result in own] == [("rejected", 1500, None)] * 2
    assert [(result["outcome"], result["mtu"], result["icmp"]["from"]) for result in routers] == [
        ("rejected", 1400, "10.99.1.1"),
        ("rejected", 1400, "fd99:1::1"),
    ]
    assert routers[0]["reason"] == "too long: ICMP fragmentation needed from 10.99.1.1, which passes on 1400 bytes"


@pytest.mark.usefixtures("network")
def test_a_path_that_swallows_long_packets_is_told_from_one_that_passes_them(probe: Path) -> None:
    """Nobody tells the source that its packets are too long: what is sent in bulk hangs although a handshake goes through.

    A link drops what is longer than its end takes, but for what is to be cut into segments later, and says nothing.
    """
    bulk = {"type": "tcp", "host": "10.99.2.2", "port": 8080, "size": 200_000, "limit": 1.0}
    plain = look(probe, {**bulk, "limit": 5.0})[0]
    sh(
        f"ip -n {SOURCE} link set eth0 gso_max_segs 1",
        f"ip -n {TARGET} route change 10.99.0.0/16 via 10.99.2.1 advmss 1460",
    )
    try:
        with mtu(TARGET, "eth0", 1400):
            long, shaken, hung = look(
                probe,
                {"type": "udp", "host": "10.99.2.2", "port": 8081, "size": 1500, "whole": True, "limit": 1.0},
                {"type": "tcp", "host": "10.99.2.2", "port": 8080},
                bulk,
            )
    finally:
        sh(
            f"ip -n {TARGET} route change 10.99.0.0/16 via 10.99.2.1",
            f"ip -n {SOURCE} link set eth0 gso_max_segs 65535",
        )

    assert (plain["outcome"], plain.get("failure")) == ("allowed", None), plain
    assert [result["outcome"] for result in (long, shaken, hung)] == ["dropped", "allowed", "dropped"]
    assert hung["reason"] == "connected, but no answer came to 200000 bytes"


@pytest.mark.usefixtures("network")
def test_a_connection_that_goes_silent_or_is_reset(probe: Path) -> None:
    silent, reset, banner = look(
        probe,
        {"type": "tcp", "host": "10.99.2.2", "port": 8082, "askSource": True, "limit": 0.3},
        {"type": "tcp", "host": "10.99.2.2", "port": 8083, "payload": "x", "readReply": True},
        {"type": "tcp", "host": "10.99.2.2", "port": 8082, "readReply": True, "limit": 0.3},
    )

    assert [result["outcome"] for result in (silent, reset, banner)] == ["dropped", "refused", "dropped"]
    assert silent["reason"] == "connected, but no answer came to GET /clientip"


@pytest.mark.usefixtures("network")
def test_http(probe: Path) -> None:
    def http(url: str, **wish: Any) -> dict[str, Any]:
        return {"type": "http", "http": {"method": "GET", "url": url, **wish}}

    plain, posted, redirected, followed, resolved, refused, rejected, denied = look(
        probe,
        http("http://10.99.2.2:8080/clientip"),
        http("http://10.99.2.2:8080/", method="POST", body="ok", headers={"X-Given": ["a"]}),
        http("http://10.99.2.2:8080/redirect"),
        http("http://10.99.2.2:8080/redirect", redirects=3),
        http("http://web.example:8080/hostname", resolve={"web.example:8080": "10.99.2.2"}),
        http("http://10.99.2.2:9/"),
        http("http://10.99.3.4/"),
        http("http://10.99.2.2:8080/", deny=["10.99.2.0/24"]),
    )

    assert (plain["http"]["status"], plain["http"]["body"].split(":")[0]) == (200, "10.99.1.2")
    assert (posted["http"]["status"], posted["http"]["body"]) == (201, "ok")
    assert posted["http"]["headers"]["X-Given"] == ["a"]
    assert (redirected["http"]["status"], followed["http"]["body"]) == (302, "server")
    assert resolved["http"]["body"] == "server"
    assert [result["outcome"] for result in (refused, rejected, denied)] == ["refused", "rejected", "error"]


@pytest.mark.usefixtures("network")
def test_http_tells_a_lost_connection_from_a_silent_server(probe: Path) -> None:
    def http(url: str) -> dict[str, Any]:
        return {"type": "http", "http": {"method": "GET", "url": url}, "limit": 0.5}

    urls = (
        "http://10.99.2.2:9/", "http://10.99.3.3/", "http://10.99.3.4/", "http://10.99.2.2:8082/", "http://10.99.2.2:8083/",
        "https://10.99.2.2:8080/", "http://no-such-name.invalid/",
    )  # fmt: skip
    results = look(probe, *map(http, urls))

    assert [(result["outcome"], result["stage"]) for result in results[:6]] == [
        ("refused", "connect"),
        ("dropped", "connect"),
        ("rejected", "connect"),
        ("dropped", "answer"),
        ("refused", "answer"),
        ("allowed", "tls"),
    ]
    assert results[6]["outcome"] == "error"


@pytest.mark.usefixtures("network")
def test_a_port_and_an_address_to_send_from(probe: Path) -> None:
    results = look(
        probe,
        {"type": "tcp", "host": "10.99.2.2", "port": 8080, "bind": "0.0.0.0:40404"},
        {"type": "udp", "host": "fd99:2::2", "port": 8081, "bind": "0.0.0.0:40405"},
        {"type": "tcp", "host": "10.99.2.2", "port": 8080, "bind": "10.99.1.2:0"},
        {"type": "tcp", "host": "10.99.2.2", "port": 8080, "bind": "10.99.1.77:0"},
        {"type": "udp", "host": "10.99.2.2", "port": 8081, "bind": "[fd99:1::2]:0"},
    )

    assert [result["outcome"] for result in results] == ["allowed", "allowed", "allowed", "error", "error"]
    assert [result["local"] for result in results[:2]] == ["10.99.1.2:40404", "[fd99:1::2]:40405"]
    assert "can't send from 10.99.1.77" in results[3]["reason"]


@pytest.mark.usefixtures("network")
def test_an_answer_that_comes_in_pieces_is_read_to_its_end(probe: Path) -> None:
    pieces, banner = look(
        probe,
        {"type": "tcp", "host": "10.99.2.2", "port": 8084, "payload": "x", "readReply": True},
        {"type": "tcp", "host": "10.99.2.2", "port": 8084, "readReply": True},
    )

    assert (pieces["reply"], banner["reply"]) == ("one two\n", "one two\n")
    assert all(result["seconds"] >= 0.05 for result in (pieces, banner))


@pytest.mark.usefixtures("network")
def test_dns_outcomes(probe: Path) -> None:
    def dns(server: str, **wish: Any) -> dict[str, Any]:
        return {"type": "dns", "dns": {"name": "web.example", "type": "A", "server": server, **wish}, "limit": 0.5}

    answered, over_tcp, refused, rejected, dropped, garbled = look(
        probe,
        dns("10.99.2.2:5353"),
        dns("10.99.2.2:5353", transport="tcp"),
        dns("10.99.2.2:9"),
        dns("10.99.3.4"),
        dns("10.99.3.3"),
        dns("10.99.2.2:8081", name="hostname"),
    )

    record = {"name": "web.example.", "type": "A", "ttl": 5, "data": "192.0.2.1"}
    assert (answered["dns"]["rcode"], answered["dns"]["answers"]) == ("NOERROR", [record])
    assert (answered["dns"]["transport"], over_tcp["dns"]["transport"]) == ("udp", "tcp")
    assert [result["outcome"] for result in (refused, rejected, dropped)] == ["refused", "rejected", "dropped"]
    assert garbled["outcome"] == "dropped"


@pytest.mark.usefixtures("network")
def test_a_closed_port_stays_refused_however_often_it_is_asked(probe: Path) -> None:
    """Kernels tell of closed ports only once a second after the first few."""
    sh(f"ip netns exec {TARGET} sysctl -qw net.ipv4.icmp_ratelimit=1000")
    try:
        outcomes = [
            look(probe, {"type": "udp", "host": "10.99.2.2", "port": 9, "limit": 0.1})[0]["outcome"] for _ in range(10)
        ]
    finally:
        sh(f"ip netns exec {TARGET} sysctl -qw net.ipv4.icmp_ratelimit=0")

    assert set(outcomes) == {"refused"}


@pytest.mark.usefixtures("network")
def test_many_targets_take_as_long_as_the_slowest(probe: Path) -> None:
    targets = [{"type": "tcp", "host": "10.99.3.3", "port": port, "limit": 1.0} for port in range(1, 41)]

    results = look(probe, *targets)

    assert {result["outcome"] for result in results} == {"dropped"}
    assert max(result["seconds"] for result in results) < 3.0


@pytest.fixture
def container() -> Iterator[str]:
    """A process in namespaces of its own, in a cgroup named as container runtimes do; its resolv.conf names 192.0.2.53."""
    identity = f"{os.getpid():064x}"
    root = next(
        path for path in map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup")) if (path / "cgroup.procs").exists()
    )
    group = root / f"koaltest-{identity}"
    group.mkdir()
    resolver = group.name
    script = (
        f"mkdir /tmp/{resolver}; mount -t tmpfs none /tmp/{resolver}; echo nameserver 192.0.2.53 >/tmp/{resolver}/r; "
        f"mount --bind /tmp/{resolver}/r /etc/resolv.conf; ip link set lo up; ip address add 10.98.0.1/32 dev lo; "
        "ip route add blackhole 192.0.2.53; echo listening; exec sleep 60"
    )
    with subprocess.Popen(["unshare", "-mn", "sh", "-euc", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"listening\n"
            (group / "cgroup.procs").write_text(str(process.pid))
            yield identity
        finally:
            process.kill()
            process.wait()
            group.rmdir()
            Path(f"/tmp/{resolver}").rmdir()


def test_looks_from_inside_a_container_with_its_own_network_and_resolver(probe: Path, container: str) -> None:
    targets = [
        {"id": "0", "type": "tcp", "host": "10.98.0.1", "port": 1, "limit": 1.0},
        {"id": "1", "type": "dns", "dns": {"name": "example.com", "type": "A"}, "limit": 1.0},
    ]
    request = {
        "sources": [
            {"id": "in", "container": container, "targets": targets},
            {"id": "out", "targets": targets[:1]},
            {"id": "gone", "container": "f" * 64, "targets": targets},
        ]
    }

    done = subprocess.run([probe], input=json.dumps(request).encode(), capture_output=True, check=True)

    inner, outer, gone = json.loads(done.stdout)["sources"]
    assert [result["outcome"] for result in inner["results"]] == ["refused", "error"]
    assert inner["results"][1]["remote"] == "192.0.2.53:53"
    assert "10.98.0.1" in inner["addresses"]
    assert "10.98.0.1" not in outer["addresses"]
    assert gone == {"id": "gone", "error": "no process of this container runs on this machine"}


@contextlib.contextmanager
def asking(command: list[str], every: float, *sources: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """The probe as it asks again and again, until its input is closed."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"every": every, "sources": sources}).encode())
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def await_outcome(process: subprocess.Popen[bytes], outcome: str) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        sighting: dict[str, Any] = json.loads(line)
        if sighting["result"]["outcome"] == outcome:
            return sighting
    pytest.fail(f"the probe ended before anything was {outcome}")


@pytest.mark.usefixtures("network")
def test_what_is_asked_again_and_again_is_lost_while_there_is_no_way(probe: Path) -> None:
    target = {"id": "0", "type": "tcp", "host": "10.99.2.2", "port": 8080, "limit": 0.5}
    with asking(inside(SOURCE, probe), 0.02, {"id": "s", "targets": [target]}) as process:
        before = await_outcome(process, "allowed")
        sh(f"ip -n {ROUTER} route add blackhole 10.99.2.2")
        try:
            lost = await_outcome(process, "dropped")
        finally:
            sh(f"ip -n {ROUTER} route del blackhole 10.99.2.2")
        after = await_outcome(process, "allowed")
        assert before["at"] < lost["at"] < after["at"] + after["result"]["seconds"]
        rest, _ = process.communicate()  # closes its input first
        assert process.returncode == 0
        assert all(json.loads(line)["source"] == "s" for line in rest.splitlines())


def test_asks_again_and_again_from_inside_a_container(probe: Path, container: str) -> None:
    target = {"id": "0", "type": "tcp", "host": "10.98.0.1", "port": 1, "limit": 1.0}
    with asking([str(probe)], 0.02, {"id": "in", "container": container, "targets": [target]}) as process:
        assert await_outcome(process, "refused")["source"] == "in"
        process.communicate()
        assert process.returncode == 0

    with asking([str(probe)], 0.02, {"id": "gone", "container": "f" * 64, "targets": [target]}) as process:
        out, _ = process.communicate()
        assert json.loads(out)["error"] == "no process of this container runs on this machine"


@contextlib.contextmanager
def answering(probe: Path) -> Iterator[int]:
    """What answers measurements at the target; its port."""
    with subprocess.Popen(
        inside(TARGET, probe, "listen", "0"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def measure(probe: Path, kind: str, to: str, *more: str) -> dict[str, Any]:
    done = subprocess.run(inside(SOURCE, probe, "-limit", "300ms", *more, kind, to), capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("host", ["10.99.2.2", "[fd99:2::2]"])
@pytest.mark.parametrize("kind", ["stream", "requests", "connections"])
def test_what_goes_through_is_measured(probe: Path, host: str, kind: str) -> None:
    with answering(probe) as port:
        found = measure(probe, kind, f"{host}:{port}", "-streams", "2", "-size", "100")

    assert (found["outcome"], found.get("failed", 0)) == ("allowed", 0), found
    assert found["count"] > 0
    assert ("latency" in found) == (kind != "stream")


@pytest.mark.usefixtures("network")
def test_no_more_is_counted_than_a_link_lets_through(probe: Path) -> None:
    sh(f"ip netns exec {ROUTER} tc qdisc add dev t0 root tbf rate 8mbit burst 20kb latency 50ms")
    try:
        with answering(probe) as port:
            found = measure(probe, "stream", f"10.99.2.2:{port}")
    finally:
        sh(f"ip netns exec {ROUTER} tc qdisc del dev t0 root")

    assert found["outcome"] == "allowed", found
    assert 0 < found["count"] <= 1.1 * found["seconds"] * 1_000_000 + 20_000


@pytest.mark.usefixtures("network")
def test_what_is_shut_cannot_be_measured(probe: Path) -> None:
    assert measure(probe, "stream", "10.99.3.1:80")["outcome"] == "rejected"
