"""What of a cluster's objects is to be undone: on values as the datastore has them."""

from __future__ import annotations

import json
from typing import Any

from koalesce.local.objects import addresses_of_pods, changes, settled
from koalesce.local.stored import read, with_status_of


def field(number: int, held: bytes) -> bytes:
    assert len(held) < 128
    return bytes([number << 3 | 2, len(held)]) + held


def proto(uid: str, *, spec: bytes = b"s", status: bytes = b"", controller: str = "", generation: int = 1) -> bytes:
    """An object as Kubernetes writes its own kinds."""
    owner = field(13, field(4, controller.encode()) + b"\x30\x01") if controller else b""
    metadata = field(5, uid.encode()) + bytes([7 << 3, generation]) + owner
    raw = field(1, metadata) + field(2, spec) + (field(3, status) if status else b"")
    return b"k8s\0" + field(1, b"type") + field(2, raw)


def custom(uid: str, **more: Any) -> bytes:
    return json.dumps({"metadata": {"uid": uid}, **more}).encode()


DEPLOYMENT = "/registry/deployments/kube-system/coredns"
REPLICA_SET = "/registry/replicasets/kube-system/coredns-1"
POD = "/registry/pods/kube-system/coredns-1-a"
FIRST = {
    "/registry/namespaces/default": proto("n1"),
    DEPLOYMENT: proto("d1"),
    REPLICA_SET: proto("r1", controller="d1"),
    POD: proto("p1", controller="r1"),
    "/registry/events/default/e": proto("e1"),
    "/registry/minions/worker-1": proto("w1", status=b"then"),
    "/registry/services/specs/kube-system/kube-dns": proto("s1"),
    "/registry/configmaps/kube-system/coredns": proto("c1"),
}


def test_an_object_is_told_from_a_changed_one_but_not_by_its_status() -> None:
    key = DEPLOYMENT

    assert read(key, proto("a", status=b"1")).essence == read(key, proto("a", status=b"2", generation=4)).essence
    assert read(key, proto("a")).essence != read(key, proto("a", spec=b"t")).essence
    assert read(key, proto("a")).essence != read(key, proto("b")).essence
    assert (read(key, proto("a", controller="o")).uid, read(key, proto("a", controller="o")).controller) == ("a", "o")


def test_what_is_no_status_counts_as_a_change() -> None:
    key = "/registry/configmaps/a/b"

    assert read(key, proto("a", status=b"1")).essence != read(key, proto("a", status=b"2")).essence


def test_custom_resources_are_json() -> None:
    key = "/registry/example.com/widgets/a/b"

    assert read(key, custom("a", status=1)).essence == read(key, custom("a", status=2)).essence
    assert read(key, custom("a", spec=1)).essence != read(key, custom("a", spec=2)).essence


def test_what_nobody_can_read_is_its_bytes() -> None:
    assert read("/registry/secrets/a/b", b"k8s:enc:aesgcm:v1:\xff").essence == b"k8s:enc:aesgcm:v1:\xff"
    assert read("/registry/pods/a/b", b"k8s\0\x0a\xff").essence == b"k8s\0\x0a\xff"


def test_whose_pods_have_which_addresses_of_their_own() -> None:
    node = field(5, b"198.18.0.10") + b"\x82\x01\x0d" + field(1, b"198.18.0.10")
    own = field(6, b"10.244.0.2") + field(12, field(1, b"10.244.0.2")) + field(12, field(1, b"fd00::2"))
    nodes = field(6, b"198.18.0.10") + field(12, field(1, b"198.18.0.10"))
    status = {"hostIPs": [{"ip": "198.18.0.10"}], "podIPs": [{"ip": "10.244.0.4"}]}
    pods = {
        POD: proto("p1", controller="r1", status=node + own),
        "/registry/pods/a/on-its-own": proto("p2", status=node + field(6, b"10.244.0.3")),
        "/registry/pods/a/with-the-nodes": proto("p3", controller="d1", status=node + nodes),
        "/registry/pods/a/without-any": proto("p4", status=node),
        "/registry/pods/a/as-json": custom("p5", status=status),
        "/registry/pods/a/unreadable": b"k8s:enc:aesgcm:v1:\xff",
    }

    assert addresses_of_pods(pods | FIRST) == {"10.244.0.3": "p2", "10.244.0.4": "p5"}
    assert addresses_of_pods(FIRST | pods) == {
        "10.244.0.2": "r1", "fd00::2": "r1", "10.244.0.3": "p2", "10.244.0.4": "p5",
    }  # fmt: skip


def test_nothing_is_to_do_where_nothing_has_changed() -> None:
    assert not changes(FIRST, FIRST)


def test_what_is_new_goes_and_what_is_missing_or_changed_comes_back() -> None:
    now = {
        **FIRST,
        DEPLOYMENT: proto("d1", spec=b"changed"),
        "/registry/namespaces/mess": proto("n2"),
        "/registry/validatingwebhookconfigurations/no": proto("v1"),
        "/registry/example.com/widgets/mess/w": custom("x1"),
    }
    del now["/registry/configmaps/kube-system/coredns"]

    found = changes(FIRST, now)

    assert found.puts == {DEPLOYMENT: FIRST[DEPLOYMENT], "/registry/configmaps/kube-system/coredns": proto("c1")}
    assert sorted(found.deletes) == sorted(now.keys() - FIRST.keys())
    assert found.described() == [
        "example.com/widgets/mess/w was not there at first",
        "namespaces/mess was not there at first",
        "validatingwebhookconfigurations/no was not there at first",
        "configmaps/kube-system/coredns is missing, or has changed",
        "deployments/kube-system/coredns is missing, or has changed",
    ]


def test_pods_of_first_controllers_are_left_to_them() -> None:
    now = {key: value for key, value in FIRST.items() if key != POD}
    now["/registry/pods/kube-system/coredns-1-b"] = proto("p2", controller="r1")
    now["/registry/pods/kube-system/coredns-2-c"] = proto("p3", controller="r2")

    found = changes(FIRST, now)

    assert (found.puts, found.deletes) == ({}, ["/registry/pods/kube-system/coredns-2-c"])


def test_a_changed_pod_of_a_controller_is_made_again_by_it() -> None:
    assert changes(FIRST, {**FIRST, POD: proto("p1")}).deletes == [POD]


def test_a_pod_of_the_same_name_that_its_controller_has_made_since_stays() -> None:
    """As those of a StatefulSet, and the mirrors of static pods, which would be made again for ever."""
    first = {**FIRST, (ours := "/registry/pods/kube-system/etcd-worker-1"): proto("m1", controller="w1")}

    assert not changes(first, {**first, ours: proto("m2", spec=b"another", controller="w1")})
    assert changes(first, {**first, ours: proto("m2", controller="w2")}).deletes == [ours]
    assert changes(first, {**first, ours: proto("m2")}).deletes == [ours]


def test_a_pod_of_the_same_name_goes_when_what_it_was_made_of_is_put_back() -> None:
    controller, pod = "/registry/statefulsets/default/db", "/registry/pods/default/db-0"
    first = {**FIRST, controller: proto("t1"), pod: proto("b1", controller="t1")}

    found = changes(first, {**first, controller: proto("t1", spec=b"changed"), pod: proto("b2", controller="t1")})

    assert (list(found.puts), found.deletes) == ([controller], [pod])


def test_events_leases_and_what_follows_services_pass() -> None:
    now = {key: value for key, value in FIRST.items() if "/events/" not in key}
    now["/registry/services/endpoints/kube-system/kube-dns"] = proto("x")
    now["/registry/endpointslices/kube-system/kube-dns-a"] = proto("y", controller="s1")
    now["/registry/leases/kube-system/apiserver-abc"] = proto("z")
    now["/registry/masterleases/198.18.0.10"] = b"m"

    assert not changes(FIRST, now)


def test_a_node_keeps_its_status() -> None:
    key = "/registry/minions/worker-1"
    now = {**FIRST, key: proto("w1", spec=b"cordoned", status=b"now")}

    assert changes(FIRST, now).puts == {key: proto("w1", status=b"now")}
    assert with_status_of(custom("a"), custom("b")) == custom("a")


def test_what_comes_before_all_is_quiet_is_of_the_first_state_only_if_controllers_make_it() -> None:
    begun = {key: value for key, value in FIRST.items() if "configmaps" not in key}
    root, user = "/registry/configmaps/default/kube-root-ca.crt", "/registry/configmaps/default/mine"
    slice_ = "/registry/endpointslices/kube-system/kube-dns-a"
    after = {
        **begun,
        root: proto("c2"),
        user: proto("c3"),
        slice_: proto("y", controller="s1"),
        DEPLOYMENT: proto("d1", status=b"up"),
    }

    assert settled(begun, after) == {key: value for key, value in after.items() if key != user}


def test_what_controllers_make_of_the_first_deployments_is_of_the_first_state() -> None:
    begun = {"/registry/deployments/kube-system/coredns": proto("d-1")}
    made = {
        "/registry/replicasets/kube-system/coredns-5f": proto("r-1", controller="d-1"),
        "/registry/pods/kube-system/coredns-5f-a": proto("p-1", controller="r-1"),
        "/registry/clustertrustbundles/kubernetes.io:kube-apiserver-serving:a": proto("b-1"),
    }
    others = {"/registry/replicasets/mess/web-5f": proto("r-2", controller="d-2")}

    assert settled(begun, {**begun, **made, **others}) == {**begun, **made}


def test_what_is_in_namespaces_of_others_is_told_apart() -> None:
    now = {
        **FIRST,
        "/registry/namespaces/mine": proto("n2"),
        "/registry/configmaps/mine/a": proto("a"),
        "/registry/services/specs/mine/b": proto("b"),
        "/registry/example.com/widgets/mine/c": custom("c"),
        "/registry/namespaces/mine-too": proto("n3"),
        "/registry/configmaps/default/mine": proto("d"),
        "/registry/clusterroles/mine": proto("e"),
        "/registry/ipaddresses/10.96.1.2": proto("f"),
        "/registry/ranges/servicenodeports": proto("g"),
    }

    assert changes(FIRST, now).outside(["mine"]).described() == [
        "clusterroles/mine was not there at first",
        "configmaps/default/mine was not there at first",
        "namespaces/mine-too was not there at first",
    ]
    assert len(changes(FIRST, now).outside([]).described()) == 7  # but for addresses and ports


def test_later_pods_of_what_is_put_back_go_so_that_all_are_made_at_once() -> None:
    owner, pod, later = "/registry/daemonsets/net/agent", "/registry/pods/net/agent-1", "/registry/pods/net/agent-2"
    first = {**FIRST, owner: proto("a1"), pod: proto("p2", controller="a1")}
    now = {**FIRST, owner: proto("a1", spec=b"changed"), later: proto("p3", controller="a1")}

    found = changes(first, now)

    assert (list(found.puts), found.deletes) == ([owner], [later])
    assert not changes(first, {**first, later: proto("p3", controller="a1")})
