"""The specs of this repository, run as users run them: green as they are, red when one expectation is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from koalesce.addons import ADDONS
from koalesce.toolchain import Toolchain, recipes
from koalesce.toolchain.releases import version_key
from tests.long import LONG, long

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "specs"

NAMES = (
    "quickstart", "kube-router", "kube-router-bgp", "kube-proxy", "coredns", "flannel",
    pytest.param("etcd", marks=LONG), pytest.param("metallb", marks=LONG),
    pytest.param("kube-router-failures", marks=LONG), pytest.param("kube-router-churn", marks=LONG),
    pytest.param("kube-router-peers", marks=LONG), pytest.param("kube-router-dual-stack", marks=LONG),
)  # fmt: skip
OLDER = sorted(recipes.versions("kubernetes", (recipes.SHIPPED,)), key=version_key)[:-1]
# What is run of a spec with a matrix.
CELLS = {"kube-proxy": "proxy=iptables", "kube-router-dual-stack": "graceful=true"}

pytestmark = pytest.mark.spec


@dataclass(frozen=True)
class Run:
    """What a run left: its exit code, what it printed, and its JUnit report."""

    code: int
    text: str
    junit: Path

    def cases(self, kind: str) -> list[str]:
        """The names of the test cases with a `failure`, `error` or `skipped`."""
        return [
            case.get("name", "")
            for case in ElementTree.parse(self.junit).iter("testcase")
            if case.find(kind) is not None
        ]

    def count(self) -> int:
        """How many test cases there are."""
        return sum(1 for _ in ElementTree.parse(self.junit).iter("testcase"))


def koalesce(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "koalesce", *words]
    environment = {**os.environ, "KOALESCE_STATE_DIR": str(folder / "state"), "NO_COLOR": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1200)


def run_spec(folder: Path, spec: Path, *arguments: str) -> Run:
    junit = folder / f"{spec.stem}.xml"
    done = koalesce(folder, "run", str(spec), "--junit", str(junit), *arguments)
    return Run(code=done.returncode, text=done.stdout + done.stderr, junit=junit)


@dataclass(frozen=True)
class Kept:
    """A run of a spec whose cluster is still up."""

    spec: str
    folder: Path
    run: Run

    def cluster(self) -> str:
        """The cluster's name."""
        return str(json.loads(koalesce(self.folder, "clusters", "--json").stdout)[0]["name"])

    def reset(self) -> None:
        """Bring the cluster to its first state."""
        done = koalesce(self.folder, "reset", self.cluster())
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A spec that has been run as a user would, but for `--keep`: the next test has its cluster."""
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    cell = ["--run", CELLS[name]] if name in CELLS else []
    yield Kept(spec=name, folder=folder, run=run_spec(folder, SPECS / f"{name}.yaml", "--keep", *cell))
    gone = koalesce(folder, "down", "--all")
    assert gone.returncode == 0, gone.stdout + gone.stderr


@pytest.mark.parametrize("kept", NAMES, indirect=True)
def test_a_spec_is_green(kept: Kept) -> None:
    run = kept.run

    assert run.code == 0, run.text
    assert (run.cases("failure"), run.cases("error"), run.cases("skipped")) == ([], [], []), run.text
    assert run.count() >= 4


def _lacking(version: str) -> str:
    """Why a Kubernetes version isn't tried here: its tools would have to be built first; empty if they are there."""
    lacking = [state.tool for state in Toolchain().states(version) if not state.folder and state.tool not in ADDONS]
    return (
        f"Kubernetes {version}: {', '.join(lacking)} not in the toolchain cache; `make test-all` builds them"
        if lacking
        else ""
    )


@pytest.mark.extra
@pytest.mark.parametrize("version", OLDER)
def test_the_tour_and_features_are_green_on_an_older_kubernetes(tmp_path: Path, version: str) -> None:
    if reason := _lacking(version):
        pytest.skip(reason)

    run = run_spec(
        tmp_path, SPECS / "quickstart.yaml", str(ROOT / "docs/examples/features.yaml"), "--kubernetes", version
    )

    assert run.code == 0, run.text
    assert run.text.count(f"Kubernetes {version}") == 2, run.text


@long
def test_kube_proxy_is_green_with_nftables(tmp_path: Path) -> None:
    run = run_spec(tmp_path, SPECS / "kube-proxy.yaml", "--run", "proxy=nftables")

    assert run.code == 0, run.text
    assert run.count() >= 5


def test_an_upgrade_without_the_other_image_is_skipped_with_its_reason_and_makes_no_cluster(tmp_path: Path) -> None:
    run = run_spec(tmp_path, SPECS / "kube-router-upgrade.yaml")

    assert run.code == 5, run.text
    assert run.cases("skipped") == [
        "the upgrade loses nothing, lets nothing through, and leaves nothing",
        "so does the way back",
    ]
    assert 'if: is "v2.10.0", expected anything but "v2.10.0"' in run.text, run.text
    assert "no cluster was made" in run.text, run.text
    assert "terraform" not in run.text, run.text


@dataclass(frozen=True)
class Regression:
    """A spec of what is wrong in some version or mode of a component, how it is run there and elsewhere, and what it says there."""

    spec: str
    green: tuple[str, ...]
    red: tuple[str, ...]
    said: str


REGRESSIONS = (
    Regression(
        spec="kube-proxy-udp-no-endpoints",
        green=("--run", "proxy=nftables"),
        red=("--run", "proxy=nftables", "--kubernetes", "1.34"),
        said=r"udp: control-plane .*/UDP: allowed, expected refused or rejected$",
    ),
    Regression(
        spec="kube-proxy-hairpin",
        green=("--set", "proxy=nftables", "--kubernetes", "1.34"),
        red=("--set", "proxy=nftables"),
        said=r"connectivity: 1 of 3 pairs differ: mirror .* → mirror on control-plane .*: dropped .*, expected allowed$",
    ),
    Regression(
        spec="kube-proxy-reused-address",
        green=(),
        red=("--kubernetes", "1.34"),
        said=r"connectivity: 1 of 2 pairs differ: .* → web .*: (rejected|refused).*, expected allowed$",
    ),
    Regression(
        spec="kube-router-first-moments",
        green=(),
        red=("--set", "deny=false"),
        said=r"logs: .*(got out|somebody came in)",
    ),
    Regression(
        spec="kube-router-service-without-slices",
        green=("--set", "slices=1"),
        red=(),
        said=r"bgp: .*203\.0\.113\.[12]",
    ),
    Regression(
        spec="kube-router-service-gone",
        green=("--set", "slices=1"),
        red=(),
        said=r"bgp: router: 1 of .* expected 0: prefix=203\.0\.113\.1/32",
    ),
)


@long
@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda each: each.spec)
def test_a_regression_is_red_where_it_is_broken_and_green_where_it_is_not(
    tmp_path: Path, regression: Regression
) -> None:
    if "--kubernetes" in (*regression.green, *regression.red) and (reason := _lacking("1.34")):
        pytest.skip(reason)
    spec = SPECS / "regressions" / f"{regression.spec}.yaml"

    green = run_spec(tmp_path, spec, *regression.green)
    red = run_spec(tmp_path, spec, *regression.red)

    assert green.code == 0, green.text
    assert red.code == 1, red.text
    assert re.search(f"(?m)^ +specs/regressions/.*: {regression.said}", red.text), red.text


@dataclass(frozen=True)
class Wrong:
    """One expectation of a spec made wrong, the test that must go red, and what its message must say."""

    right: str
    wrong: str
    test: str
    said: str
    takes_a_reset: bool = False  # its setup can't be done twice in one cluster: objects or ports are taken


WRONG = {
    "quickstart": Wrong(
        right='{text: "${{ vars.greeting }}"}\n      - wait-for: {resource: configmap/greeting, exists: true}',
        wrong='{text: "${{ vars.greeting }}"}\n      - wait-for: {resource: configmap/greetings, exists: true}\n        timeout: 1s',
        test="apply, wait-for and delete",
        said=r"configmap/greetings .*does not exist",
        takes_a_reset=True,
    ),
    "kube-router": Wrong(
        right="{from: {pod: friend}, to: {pod: server, port: 8080}, expect: allowed}\n        consistently: 3s",
        wrong="{from: {pod: friend}, to: {pod: server, port: 8080}, expect: rejected}\n        timeout: 3s",
        test="a NetworkPolicy lets a friend in and keeps a stranger out",
        said=r"friend .*server.*: allowed, expected rejected",
        takes_a_reset=True,
    ),
    "kube-router-bgp": Wrong(
        right='peers: ["${{ nodes[1].address }}"], asPath: [64512]}\n        timeout: 90s',
        wrong='peers: ["${{ nodes[1].address }}"], asPath: [64599]}\n        timeout: 3s',
        test="pod CIDRs",
        said=r"asPath\[0\] is 64512, expected 64599",
    ),
    "kube-router-failures": Wrong(
        right='to: {pod: server, namespace: "${{ setup.namespace }}", port: 8080}, maxTime: 10s}}',
        wrong='to: {pods: {selector: app=client, namespace: "${{ setup.namespace }}"}, port: 8080}, maxTime: 1s}}',
        test="a node that was cut off is reached again as soon as it can be",
        said=r"stop: .*[1-9]\d* lost",
    ),
    "kube-router-churn": Wrong(
        right="after: 200 server",
        wrong="after: 403 server",
        test="a connection that is open when a policy comes goes on, and new ones are rejected",
        said=r"after: 200 server",
    ),
    "kube-router-peers": Wrong(
        right='nextHops: ["${{ nodes[1].address }}"], asPath: [64512]}\n        timeout: 60s',
        wrong='nextHops: ["${{ nodes[1].address }}"], asPath: [64599]}\n        timeout: 3s',
        test="a peer several hops away, at a port of its own",
        said=r"asPath\[0\] is 64512, expected 64599",
    ),
    "kube-router-dual-stack": Wrong(
        right='nextHops: ["${{ nodes[1].addresses[1] }}"], asPath: [64512]}\n        timeout: 60s',
        wrong='nextHops: ["${{ nodes[1].addresses[0] }}"], asPath: [64512]}\n        timeout: 3s',
        test="by one session a router learns the pods' networks and the Services of both families",
        said=r"nextHops.*expected .*198\.18\.",
    ),
    "kube-proxy": Wrong(
        right='from: {nodes: all}\n          to: {service: nobody, namespace: "${{ setup.namespace }}", port: http}\n          expect: rejected',
        wrong='from: {nodes: all}\n          to: {service: nobody, namespace: "${{ setup.namespace }}", port: http}\n          expect: dropped\n        timeout: 3s',
        test="a Service without pods rejects at once",
        said=r"control-plane .*nobody.*: rejected .*, expected dropped",
    ),
    "etcd": Wrong(
        right="      - stop: writer\n",
        wrong="      - stop: writer\n"
        '      - exec: {pod: client, namespace: "${{ setup.namespace }}", command: [etcdctl, del, kept/1], stdout: "1"}\n',
        test="nothing that was confirmed is lost when the leader stands still and a member is killed",
        said=r"(?s)every member has all .*kept/1\b",
    ),
    "metallb": Wrong(
        right='communities: ["64512:100"]\n        timeout: 60s',
        wrong='communities: ["64512:200"]\n        timeout: 3s',
        test="every node announces the address, and nothing else",
        said=r"64512:100.*expected.*64512:200|64512:200",
    ),
    "coredns": Wrong(
        right='stdout: {contains: "status: NXDOMAIN"}',
        wrong='stdout: {contains: "status: NOERROR"}',
        test="a name that is not there is NXDOMAIN, not an error",
        said=r"status: NXDOMAIN",
    ),
    "flannel": Wrong(
        right="mtu: 1450",
        wrong="mtu: 1500",
        test="every node has a vxlan device with room for its header",
        said=r"1450.*expected.*1500|expected.*1500",
    ),
}


@pytest.fixture
def beside(kept: Kept) -> Iterator[Path]:
    """A file beside the specs, which finds what they find; removed afterwards."""
    wrong = WRONG[kept.spec]
    written = (SPECS / f"{kept.spec}.yaml").read_text()
    assert written.count(wrong.right) == 1, f"{kept.spec}.yaml no longer has, once: {wrong.right}"
    path = SPECS / f"_wrong-{kept.spec}-{os.getpid()}.yaml"
    path.write_text(written.replace(wrong.right, wrong.wrong))
    yield path
    path.unlink()


@pytest.mark.parametrize("kept", NAMES, indirect=True)
def test_a_wrong_expectation_is_red_and_says_why(kept: Kept, beside: Path) -> None:
    wrong = WRONG[kept.spec]
    if wrong.takes_a_reset:
        kept.reset()

    cell = re.escape(f" [{CELLS[kept.spec]}]") if kept.spec in CELLS else ""
    run = run_spec(kept.folder, beside, "--cluster", kept.cluster(), "--run", f"^{re.escape(wrong.test)}{cell}$")

    assert run.code == 1, run.text
    assert run.cases("failure") == [wrong.test], run.text
    assert re.search(wrong.said, run.text), run.text


MORE = (
    Wrong(
        right='ranges: [[{subnet: "${{ n.podCIDR }}"}]]',
        wrong='ranges: [[{subnet: "${{ others[0].podCIDR }}"}]]',
        test="each node has one configuration of CNI, with its own pod CIDR",
        said=r"plugins has no element that matches",
    ),
    Wrong(
        right="to: {nodes: all, port: 18080}\n          expect: allowed\n          sourceIP: preserved\n        timeout: 60s",
        wrong="to: {nodes: all, port: 18080}\n          expect: allowed\n          sourceIP: 192.0.2.0/24\n        timeout: 3s",
        test="every pod reaches every node, which sees the pod's own address",
        said=r"seen as 10\.\S+, expected 192\.0\.2\.0/24",
    ),
    Wrong(
        right='packets: {match: {src: {in: ["${{ nodes[0].address }}", ',
        wrong='packets: {match: {src: {in: [192.0.2.1, "${{ nodes[0].podCIDR }}", ',
        test="what pods send to the outside has the address of their node",
        said=r"packets matching, expected all",
    ),
    Wrong(
        right="via: nodePort}\n          expect: allowed\n          sourceIP: preserved",
        wrong="via: nodePort}\n          expect: allowed\n          sourceIP: node",
        test="ports of nodes lead to the Service",
        said=r"seen as \S+, expected an address of a node",
    ),
    Wrong(
        right="payload: {size: 1501, df: true}\n          expect: rejected",
        wrong="payload: {size: 1500, df: true}\n          expect: rejected\n        timeout: 3s",
        test="packets of the path's MTU pass in one piece, and longer ones are said to be too long",
        said=r"pairs differ: \S+ .*/UDP: allowed, expected rejected",
    ),
    Wrong(
        right="payload: {size: 1400, df: true}",
        wrong="payload: {size: 1401, df: true}\n        timeout: 3s",
        test="where a node's link takes less, its pods are told so, and what may be cut goes on",
        said=r"rejected \(too long: ICMP fragmentation needed from \S+, which passes on 1400 bytes\), expected allowed",
    ),
)


@long
@pytest.mark.parametrize("kept", ["kube-router"], indirect=True)
def test_more_wrong_expectations_are_red_and_say_why(kept: Kept) -> None:
    written = (SPECS / f"{kept.spec}.yaml").read_text()
    for wrong in MORE:
        assert written.count(wrong.right) == 1, f"{kept.spec}.yaml no longer has, once: {wrong.right}"
        written = written.replace(wrong.right, wrong.wrong)
    kept.reset()
    path = SPECS / f"_wrong-{kept.spec}-{os.getpid()}.yaml"
    path.write_text(written)
    try:
        tests = "|".join(re.escape(wrong.test) for wrong in MORE)
        run = run_spec(kept.folder, path, "--cluster", kept.cluster(), "--run", f"^({tests})$")
    finally:
        path.unlink()

    assert run.code == 1, run.text
    assert sorted(run.cases("failure")) == sorted(wrong.test for wrong in MORE), run.text
    assert [wrong.said for wrong in MORE if not re.search(wrong.said, run.text)] == [], run.text
