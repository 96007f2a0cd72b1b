"""The contract, checked against values."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.terraform.contract import ContractError, check_outputs, check_variables, contract, problems_of

NODE = {
    "name": "control-plane",
    "role": "control-plane",
    "address": "198.18.0.10",
    "pod_cidr": "10.244.0.0/24",
    "exec": ["koalesce", "local", "exec", "a", "control-plane", "--"],
    "logs": {"kubelet": ["cat", "/var/log/kubelet.log"]},
}
OUTPUTS: dict[str, Any] = {
    "contract": 1,
    "nodes": [NODE],
    "kubeconfig_path": "/runs/1/kubeconfig",
    "api_endpoint": "https://127.0.0.1:40001",
    "capabilities": ["node-exec"],
    "dns_ip": "10.96.0.10",
    "fixtures": [],
    "host_exec": [],
    "cleanup": {"argv": ["koalesce", "down", "a"]},
}


def test_outputs_that_keep_the_contract_pass() -> None:
    check_outputs(OUTPUTS)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"contract": 2}, "keeps contract 2, this version of Koalesce knows contract 1"),
        ({"contract": None}, "contract: expected number, got null"),
        ({"surprise": 1}, "surprise: unknown"),
        ({"kubeconfig_path": "kubeconfig"}, 'kubeconfig_path: "kubeconfig" does not match'),
        ({"nodes": {}}, r"nodes: expected array, got {}"),
        (
            {"nodes": [NODE | {"role": "master"}]},
            r"nodes\[0\].role: expected one of control-plane, worker, got \"master\"",
        ),
        ({"nodes": [NODE | {"exec": "ssh"}]}, r"nodes\[0\].exec: expected array"),
        ({"nodes": [NODE | {"logs": {"kubelet": [True]}}]}, r"nodes\[0\].logs.kubelet\[0\]: expected string, got true"),
        ({"nodes": [{"name": "a"}]}, r"nodes\[0\].address: missing"),
        ({"cleanup": {}}, "cleanup.argv: missing"),
    ],
)
def test_an_output_that_breaks_the_contract_is_named(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ContractError, match=problem):
        check_outputs(OUTPUTS | change)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ContractError) as caught:
        check_outputs({"contract": 1, "dns_ip": 5})

    assert "nodes: missing" in caught.value.message
    assert "dns_ip: expected string, got 5" in caught.value.message


def test_variables_are_checked_before_terraform_sees_them() -> None:
    good = {"name": "a-1", "run_id": "1", "kubernetes_version": "1.37.2", "nodes": []}
    check_variables(good)

    with pytest.raises(ContractError, match=r"kubernetes_version: \"1.37\" does not match"):
        check_variables(good | {"kubernetes_version": "1.37"})


def test_a_keyword_that_is_not_checked_is_an_error() -> None:
    with pytest.raises(ValueError, match="minLength"):
        list(problems_of({"minLength": 1}, "a", ""))


def test_every_keyword_of_the_schema_is_known() -> None:
    """A full document walks through all of it."""
    document = {"outputs": OUTPUTS, "variables": _example(contract()["properties"]["variables"])}

    assert list(problems_of(contract(), document, "")) == []


def _example(schema: dict[str, Any]) -> Any:
    """A value that fits a schema of the contract."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            named = {name: _example(rule) for name, rule in schema.get("properties", {}).items()}
            rule = schema.get("additionalProperties")
            return named | ({"any": _example(rule)} if isinstance(rule, dict) else {})
        case "array":
            return [_example(schema["items"])]
        case "number":
            return schema.get("const", 1)
        case "boolean":
            return True
        case _:
            return {"^1": "1.37.2", "^h": "https://a", "^/": "/a"}.get(schema.get("pattern", "")[:2], "aa")
