"""Files of settings: one value each, read by the rules of specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from koalesce.yaml.manifests import read_text
from koalesce.yaml.problems import InvalidDocument, Problem
from koalesce.yaml.reader import read


def read_settings(path: Path) -> Any:
    """The value of a file, None of an empty one; InvalidDocument shows the lines that can't be read."""
    documents, problems = read(text := read_text(path, str(path)), str(path))
    if not problems and len(documents) > 1:
        problems = [Problem.at(str(path), text, documents[1].position, "a second document; one is read")]
    if problems:
        raise InvalidDocument(problems)
    return documents[0].value if documents else None
