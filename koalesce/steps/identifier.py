"""Names that expressions and steps may use."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StrictStr


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w-]*", text):
        raise ValueError(
            f'"{text}" is no name for an expression: letters, digits, "_" and "-", beginning with a letter'
        )
    return text


Identifier = Annotated[StrictStr, AfterValidator(_identifier)]
