from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from koalesce.steps.objects.reference import ResourceRef


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("pods", ResourceRef("pods")),
        ("pod/web-0", ResourceRef("pod", "web-0")),
        ("widgets.example.com/w", ResourceRef("widgets.example.com", "w")),
        ("deployments.v1.apps/web", ResourceRef("deployments.v1.apps", "web")),
        ("clusterrole/system:node", ResourceRef("clusterrole", "system:node")),
    ],
)
def test_references_are_read_and_written_alike(text: str, reference: ResourceRef) -> None:
    adapter = TypeAdapter(ResourceRef)

    assert adapter.validate_python(text) == reference
    assert str(reference) == text
    assert adapter.dump_json(reference) == f'"{text}"'.encode()


@pytest.mark.parametrize("text", ["", "/a", "pod/", "pod/a/b", "pod a", "1pod/a", None, 5, ["pod"]])
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="names no object; write KIND or KIND/NAME"):
        ResourceRef.parse(text)  # type: ignore[arg-type]
