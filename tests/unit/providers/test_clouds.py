"""The clouds that Koalesce brings: what specs say of them is what their Terraform roots take."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from koalesce.assets import asset
from koalesce.cluster_request import ClusterRequest, NodeRequest
from koalesce.errors import UsageError
from koalesce.providers import BUILT_IN, provider
from koalesce.providers.cloud import CloudProvider, cloud
from koalesce.terraform.hcl import read_blocks

CLOUDS = sorted(name for name, make in BUILT_IN.items() if isinstance(make(), CloudProvider))
NEEDED = {"equinix": {"project": "p"}, "latitudesh": {"project": "p"}}
_FIELD = re.compile(r'(\w+)=optional\((?:string|number|any|list\(string\)),("(?:[^"\\]|\\.)*"|[^()]+?)\)')


def test_these_are_brought() -> None:
    assert CLOUDS == ["aws", "digitalocean", "equinix", "hcloud", "latitudesh"]


@pytest.mark.parametrize("name", CLOUDS)
def test_settings_have_the_fields_and_defaults_of_the_root(name: str) -> None:
    root = asset("terraform", name)
    blocks = {block.name: block for block in read_blocks((root / "variables.tf").read_text())}
    taken = {field: json.loads(value) for field, value in _FIELD.findall(blocks["settings"].attributes["type"])}

    said = cloud(name).read(NEEDED.get(name, {})).settings()

    own = dict.fromkeys(NEEDED.get(name, {}), "")  # what nobody can guess
    assert taken == {**said, **own, "ttl": "2h", "tools": {}, "image_store": ""}
    assert said["ttl"] == "7200s"


@pytest.mark.parametrize("name", CLOUDS)
def test_its_readme_tells_of_each_setting_and_of_its_credentials(name: str) -> None:
    readme = (asset("terraform", name) / "README.md").read_text()

    assert [field for field in cloud(name).read(NEEDED.get(name, {})).settings() if f"`{field}`" not in readme] == []
    assert [variable for variable in cloud(name).credentials if variable not in readme] == []


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_what_nobody_can_guess_has_to_be_said(name: str) -> None:
    with pytest.raises(UsageError, match=rf"providers\.{name}\.project: it has to be said"):
        provider(name).resolve(request(name, {}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"server_typ": "cx23"}, r'providers.hcloud\.server_typ: unknown setting; did you mean "serverType"\?'),
        ({"colour": "red"}, r"providers.hcloud\.colour: unknown setting\n"),
    ],
)
def test_what_is_wrong_with_settings_is_said_with_what_there_is(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        provider("hcloud").resolve(request("hcloud", settings))

    assert raised.value.hint is not None
    assert "allowedCIDRs, " in raised.value.hint
    assert "serverType" in raised.value.hint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ttl": "soon"}, "providers.hcloud.ttl: "),
        ({"timeout": 0}, "providers.hcloud.timeout: must be more than 0"),
        (
            {"allowedCIDRs": ["192.0.2.7/24"]},
            "providers.hcloud.allowedCIDRs[0]: 192.0.2.7/24 is an address in 192.0.2.0/24, which would be the range",
        ),
    ],
)
def test_what_is_wrong_with_a_value_is_said_alone(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as raised:
        provider("hcloud").resolve(request("hcloud", settings))

    assert raised.value.hint is None


def test_a_service_that_has_ended_is_told_of_before_anything_starts() -> None:
    told = provider("equinix").check(request("equinix", {"project": "p"}))

    assert told[0].startswith("Equinix Metal was switched off on 30 June 2026; the provider latitudesh")
    assert not any("switched off" in problem for problem in provider("latitudesh").check(request("latitudesh", {})))


def test_where_a_service_has_ended_nobody_is_asked_what_is_left_there() -> None:
    with pytest.raises(UsageError, match=r"switched off on 30 June 2026.*nothing there costs money any more"):
        CloudProvider("equinix", {}).api()


@pytest.mark.parametrize("name", CLOUDS)
def test_a_destroy_is_verified_by_a_listing_of_the_cloud(name: str) -> None:
    own = cloud(name)

    assert (own.api is None) == bool(own.ended)


@pytest.mark.parametrize("name", CLOUDS)
def test_everything_in_the_root_bears_the_marks(name: str) -> None:
    """Mock tests say so where a plugin is at hand; this one reads what each resource says."""
    text = (asset("terraform", name) / "main.tf").read_text()
    marked = ("local.marks", "local.tags", "local.tag", "_tag.run", "local.label", "local.machines")
    without = [
        f"{kind}.{label}"
        for kind, label, body in re.findall(r'^resource "(\w+)" "(\w+)" \{\n(.*?)^\}', text, re.DOTALL | re.MULTILINE)
        if not any(mark in body for mark in marked)
    ]

    # Parts of what is marked, and what only Terraform knows of.
    assert without == {
        "aws": ["aws_route_table_association.run"],
        "hcloud": ["hcloud_network_subnet.run"],
        "latitudesh": ["terraform_data.peers"],
    }.get(name, [])


@pytest.mark.parametrize("name", CLOUDS)
def test_every_machine_is_told_what_all_are(name: str) -> None:
    text = (asset("terraform", name) / "main.tf").read_text()
    told = 'try(file("${terraform_data.key.output.folder}/user-data"), "")'

    assert re.findall(r"^  (?:user_data|content) += (.*)$", text, re.MULTILINE)[:1] in (
        [told], [f"base64encode({told})"],
    )  # fmt: skip
    assert re.search(r"^  boot += ", text, re.MULTILINE)
    assert "user_data" in text.partition("ignore_changes")[2] or "[content]" in text.partition("ignore_changes")[2]


def request(name: str, settings: dict[str, Any]) -> ClusterRequest:
    nodes = (NodeRequest(name="control-plane", role="control-plane"),)
    return ClusterRequest(name="c1", run_id="r", provider=name, kubernetes="", nodes=nodes, settings=settings)
