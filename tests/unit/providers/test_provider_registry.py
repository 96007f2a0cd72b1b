from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from koalesce import providers
from koalesce.errors import UsageError
from koalesce.providers import KubeconfigProvider, provider


@pytest.fixture(autouse=True)
def brought(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """What other packages bring."""
    found: list[EntryPoint] = []
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: found if group == providers.GROUP else [])
    providers._brought.cache_clear()
    yield found
    providers._brought.cache_clear()


def entry(name: str, value: str = "koalesce.providers.kubeconfig:KubeconfigProvider") -> EntryPoint:
    return EntryPoint(name=name, value=value, group=providers.GROUP)


def test_another_package_brings_a_provider(brought: list[EntryPoint]) -> None:
    brought.append(entry("acme"))

    assert isinstance(provider("acme"), KubeconfigProvider)
    assert sorted(providers.REGISTRY) == ["acme", *sorted(providers.BUILT_IN)]


def test_one_that_is_built_in_can_not_be_replaced(brought: list[EntryPoint]) -> None:
    brought.append(entry("local"))

    assert provider("local").name == "local"


def test_one_that_can_not_be_loaded_is_named(brought: list[EntryPoint]) -> None:
    brought.append(entry("acme", "acme_is_not_there:Provider"))

    with pytest.raises(
        UsageError, match="the cluster provider acme of the package acme_is_not_there:Provider can't be"
    ):
        provider("acme")


def test_an_unknown_one_gets_a_suggestion(brought: list[EntryPoint]) -> None:
    brought.append(entry("acme"))

    with pytest.raises(UsageError) as raised:
        provider("acmee")

    assert raised.value.message == 'unknown cluster provider "acmee"; did you mean "acme"?'
    assert raised.value.hint == "known are: " + ", ".join(["acme", *sorted(providers.BUILT_IN)])


def test_who_asks_for_one_that_is_built_in_does_not_look_at_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*, group: str) -> list[EntryPoint]:
        raise AssertionError(f"looked for {group}")

    monkeypatch.setattr("importlib.metadata.entry_points", fail)

    assert provider("local").name == "local"
