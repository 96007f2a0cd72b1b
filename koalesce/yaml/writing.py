"""Objects as YAML text, for people to read and for kubectl to apply."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from koalesce.yaml.scalars import ScalarError, kubectl

_TEXT = "tag:yaml.org,2002:str"


class _Representer(SafeRepresenter):
    """Text of several lines as a block; what kubectl would take for something else (`on`, `12:30`) in quotes."""

    def represent_text(self, text: str) -> Any:
        style = "|" if "\n" in text else ("'" if _is_ambiguous(text) else None)
        return self.represent_scalar(_TEXT, text, style=style)


_Representer.add_representer(str, _Representer.represent_text)


def dump(value: Any) -> str:
    """One document; maps sorted by key, in block style."""
    yaml = YAML(typ="safe")
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.width = 200
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _is_ambiguous(text: str) -> bool:
    try:
        return not isinstance(kubectl(text), str)
    except ScalarError:
        return True
