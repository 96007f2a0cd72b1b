"""Secrets never leave."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from koalesce.engine.masking import Masks
from koalesce.events import ClusterReady, Grid, PairKind, PhaseProgress, StepFinished


def test_masks_a_secret_in_every_form() -> None:
    masks = Masks()
    masks.add(["s3cret/token"])

    assert masks.text("raw s3cret/token b64 czNjcmV0L3Rva2Vu url s3cret%2Ftoken") == "raw *** b64 *** url ***"


def test_masks_each_line_of_a_key() -> None:
    masks = Masks()
    masks.add(["-----BEGIN-----\nabcdefgh\n"])

    assert masks.text("found abcdefgh here") == "found *** here"


def test_learns_from_secret_objects() -> None:
    masks = Masks()
    masks.learn_from({"kind": "Secret", "data": {"password": "aHVudGVyMjI="}, "stringData": {"user": "administrator"}})

    assert masks.text("hunter22 of administrator") == "*** of ***"


def test_leaves_short_words_alone() -> None:
    masks = Masks()
    masks.add(["ok"])

    assert masks.text("all ok") == "all ok"


def test_masks_events() -> None:
    masks = Masks()
    masks.add(["hunter22"])

    assert masks.event(PhaseProgress(spec="s", phase="p", message="got hunter22")).message == "got ***"


def test_masks_what_is_deep_in_an_event() -> None:
    masks = Masks()
    masks.add(["hunter22"])
    kind = PairKind(expected="allowed", observed="error", is_right=False, note="said hunter22")
    grid = Grid(title="", rows=("a",), columns=("b",), kinds=(kind,), cells=((0,),))
    own = {"spec": "s", "test": "t", "section": "steps", "index": 0, "type": "curl", "title": "", "line": 1}
    step = StepFinished(**own, status="failed", attempts=1, seconds=1, message="", grids=(grid,))  # type: ignore[arg-type]  # a dict of both
    up = {"spec": "s", "cluster": "c", "provider": "p", "kubernetes": "1", "capabilities": (), "kubeconfig": ""}
    nodes = ({"name": "n", "token": ["hunter22"]},)

    assert masks.event(step).grids[0].kinds[0].note == "said ***"
    assert masks.event(step).grids[0].cells == ((0,),)
    assert masks.event(ClusterReady(**up, nodes=nodes, seconds=1)).nodes == ({"name": "n", "token": ["***"]},)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("token eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2ln-bmF_dHVyZQ end", "token *** end"),
        ("Authorization: Bearer abcdef.0123456789abcdef==, next", "Authorization: Bearer ***, next"),
        (
            "key:\n-----BEGIN EC PRIVATE KEY-----\nMHcC\nAQEE\n-----END EC PRIVATE KEY-----\nafter",
            "key:\n-----BEGIN EC PRIVATE KEY-----***-----END EC PRIVATE KEY-----\nafter",
        ),
        ("cut off: -----BEGIN PRIVATE KEY-----\nMHcC", "cut off: -----BEGIN PRIVATE KEY-----***"),
        (
            "a bearer of news, eyJ and -----BEGIN CERTIFICATE-----",
            "a bearer of news, eyJ and -----BEGIN CERTIFICATE-----",
        ),
    ],
)
def test_masks_what_is_a_secret_wherever_it_comes_from(text: str, masked: str) -> None:
    assert Masks().text(text) == masked


def test_a_service_accounts_secret_leaves_its_namespace_readable() -> None:
    masks = Masks()
    masks.learn_from({"kind": "Secret", "data": {"namespace": "ZGVmYXVsdA==", "token": "czNjcmV0LXRva2Vu"}})

    assert masks.text("s3cret-token in default") == "*** in default"


def test_what_is_too_long_for_a_secret_is_left_alone() -> None:
    masks = Masks()
    release = "stored release\n" * 10_000
    masks.learn_from({"kind": "Secret", "data": {"release": base64.b64encode(release.encode()).decode()}})

    assert masks.text("stored release") == "stored release"


@pytest.mark.parametrize(
    "form",
    [
        "users:\n- name: me\n  user:\n    token: s3cret-token\n    client-key-data: {key}\n",
        '{{"users": [{{"name": "me", "user": {{"token": "s3cret-token", "client-key-data": "{key}"}}}}]}}',
    ],
)
def test_learns_a_kubeconfigs_credentials(tmp_path: Path, form: str) -> None:
    key = base64.b64encode(b"line-one-of-key\nline-two-of-key\n").decode()
    (tmp_path / "config").write_text(form.format(key=key))
    masks = Masks()

    masks.learn_kubeconfig(tmp_path / "config")
    masks.learn_kubeconfig(tmp_path / "missing")

    assert masks.text(f"s3cret-token {key} line-two-of-key me") == "*** *** *** me"
