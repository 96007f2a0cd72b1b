"""What is taken out of text for the public, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.cli.anonymous import Anonymous
from koalesce.events import StepFinished, TestFinished


@pytest.fixture
def anonymous() -> Anonymous:
    return Anonymous(
        home=Path("/home/ada"), here=Path("/home/ada/src/router"), names=["build-7.corp.example", "build-7"]
    )


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("/home/ada/src/router/specs/a.yaml:17", "./specs/a.yaml:17"),
        ("/home/ada/.cache/koalesce", "~/.cache/koalesce"),
        ("/home/adam/x and /Users/eve/y", "/home/USER/x and /home/USER/y"),
        ("build-7 says: build-7.corp.example is down", "HOST says: HOST is down"),
        ("rebuild-7 and build-70 stay", "rebuild-7 and build-70 stay"),
        ("GET https://api.corp.example:6443/x", "GET https://host-1.example:6443/x"),
        ("https://ada:hunter2@git.corp.example/x", "https://***@host-1.example/x"),
        ("ada@mail.corp.example", "ada@host-1.example"),
        ("image registry.corp.example/team/app:1 of registry.corp.example:5000", "image host-1.example/team/app:1 of host-1.example:5000"),
        ("image docker.io/x/y:1, registry.k8s.io/pause:3", "image docker.io/x/y:1, registry.k8s.io/pause:3"),
        ("web.ns.svc.cluster.local:80, networking.k8s.io/v1", "web.ns.svc.cluster.local:80, networking.k8s.io/v1"),
        ("kube-router.yaml:17:5: tests[0]", "kube-router.yaml:17:5: tests[0]"),
        ("10.244.1.3 → 10.244.2.2:8080: dropped", "10.244.1.3 → 10.244.2.2:8080: dropped"),
        ("http://10.96.0.1:80/", "http://10.96.0.1:80/"),
        ("GITHUB_TOKEN=abcdef --password: hunter22 apiKey=\"xyz123\"", "GITHUB_TOKEN=*** --password: *** apiKey=\"***\""),
        ("ghp_0123456789abcdefghijABCDEFGHIJ", "***"),
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer ***"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----"),
    ],
)  # fmt: skip
def test_takes_out_what_is_nobodys_business(anonymous: Anonymous, text: str, public: str) -> None:
    assert anonymous.text(text) == public


def test_a_host_stays_the_same_one(anonymous: Anonymous) -> None:
    found = anonymous.text("https://a.corp.example https://b.corp.example https://a.corp.example")

    assert found == "https://host-1.example https://host-2.example https://host-1.example"


def test_events_are_gone_through_field_by_field(anonymous: Anonymous) -> None:
    event = TestFinished(
        spec="a.yaml", test='says "x"\n', status="failed", seconds=1.0, message="at /home/ada/x\n\\", line=3,
        evidence="/home/ada/src/router/.koalesce",
    )  # fmt: skip
    step = StepFinished(
        spec="a.yaml", test="t", section="steps", index=0, type="exec", title="t", line=1, status="failed", attempts=1, seconds=0.1,
        message="", actual="build-7",
    )  # fmt: skip

    assert anonymous.event(event) == TestFinished(
        spec="a.yaml",
        test='says "x"\n',
        status="failed",
        seconds=1.0,
        message="at ~/x\n\\",
        line=3,
        evidence="./.koalesce",
    )
    found = anonymous.event(step)
    assert isinstance(found, StepFinished)
    assert (found.actual, found.expected) == ("HOST", None)
