"""How the documentation becomes a site: `make docs`. Links that lead nowhere fail."""

from __future__ import annotations

import re
from typing import Any

import koalesce

project = "Koalesce"
author = "the authors of Koalesce"
version = release = koalesce.__version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["README.md", "examples", "generator"]  # the index on a code host; files that pages link to
nitpicky = True
myst_heading_anchors = 4  # as code hosts make them, so that links work in both places

html_theme = "furo"
html_title = f"Koalesce {version}"
html_copy_source = False
html_show_copyright = False

_OUTSIDE = re.compile(r"\[`?([^\]`]+)`?\]\((\.\./\.\./[^)\s#]+\.md)\)")


def setup(app: Any) -> None:
    """Markdown outside of this folder is no page of the site, but a file that comes along."""
    app.connect(
        "source-read",
        lambda _app, _name, source: source.__setitem__(0, _OUTSIDE.sub(r"{download}`\1 <\2>`", source[0])),
    )
