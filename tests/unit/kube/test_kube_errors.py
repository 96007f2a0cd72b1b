from __future__ import annotations

import json

import pytest

from koalesce.kube import ApiError, UnknownKind
from koalesce.kube.errors import Cause


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (0, "ConnectionRefused", "connection refused"),
        (0, "ConnectionReset", "the connection was cut"),
        (0, "Timeout", "no answer in time"),
        (429, "TooManyRequests", "try later"),
        (500, "InternalError", "etcdserver: leader changed"),
        (
            500,
            "InternalError",
            'failed calling webhook "a.b.c": Post "https://a": dial tcp: connect: connection refused',
        ),
        (500, "InternalError", 'failed calling webhook "a.b.c": no endpoints available for service "a"'),
        (500, "InternalError", 'unable to upgrade connection: container not found ("web")'),
        (502, "BadGateway", ""),
        (503, "ServiceUnavailable", ""),
        (504, "Timeout", ""),
        (403, "Forbidden", 'error looking up service account a/default: serviceaccount "default" not found'),
        (409, "Conflict", "the object has been modified; please apply your changes to the latest version"),
        (409, "AlreadyExists", 'object is being deleted: pods "a" already exists'),
    ],
)
def test_what_passes_by_itself_is_transient(status: int, reason: str, message: str) -> None:
    assert ApiError(message, status=status, reason=reason).transient


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (0, "Cancelled", "cancelled"),
        (0, "TLS", "the certificate is not trusted"),
        (400, "BadRequest", 'strict decoding error: unknown field "spec.replica"'),
        (401, "Unauthorized", ""),
        (403, "Forbidden", 'pods is forbidden: User "x" cannot list'),
        (404, "NotFound", 'pods "a" not found'),
        (409, "AlreadyExists", 'pods "a" already exists'),
        (409, "Conflict", "Apply failed with 1 conflict"),
        (422, "Invalid", "spec.replicas: Invalid value: -1"),
        (500, "InternalError", "failed to create typed patch object: .spec.replica: field not declared in schema"),
        (
            500,
            "InternalError",
            'OCI runtime exec failed: exec failed: "nope": executable file not found in $PATH: unknown',
        ),
        (501, "NotImplemented", ""),
    ],
)
def test_what_is_the_caller_s_fault_is_not(status: int, reason: str, message: str) -> None:
    assert not ApiError(message, status=status, reason=reason).transient


def test_a_kind_that_is_not_there_may_still_come() -> None:
    assert UnknownKind("no such kind").transient


def test_conflicts_are_listed_field_by_field() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.replicas"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "helm"', "field": ".spec.paused"},
    ]
    body = {"kind": "Status", "code": 409, "reason": "Conflict", "message": "long", "details": {"causes": causes}}

    error = ApiError.from_answer(409, json.dumps(body).encode(), "PATCH /x")

    assert error.message == (
        "2 fields belong to another field manager\n"
        "field           manager\n"
        ".spec.replicas  kubectl\n"
        ".spec.paused    helm"
    )
    assert error.said == "long"
    assert error.causes[0] == Cause("FieldManagerConflict", 'conflict with "kubectl"', ".spec.replicas")


def test_a_refusal_says_what_it_is_about_and_keeps_what_the_server_said() -> None:
    error = ApiError("the object has been modified", status=409, reason="Conflict")

    about = error.about("pod/web", lasting=True)

    assert (about.message, about.said) == ("pod/web: the object has been modified", "the object has been modified")
    assert (about.status, about.reason) == (409, "Conflict")
    assert (error.transient, about.transient) == (True, False)


def test_an_answer_that_is_no_status_object_is_quoted() -> None:
    error = ApiError.from_answer(404, b"404 page not found\n", "GET /nope")

    assert (error.status, error.reason, error.message) == (404, "NotFound", "GET /nope: 404 page not found (HTTP 404)")
