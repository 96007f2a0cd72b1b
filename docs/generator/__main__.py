"""Write the pages and schemas, and remove pages of steps that are gone."""

from __future__ import annotations

from docs.generator.pages import REFERENCE, pages

written = pages()
(REFERENCE / "steps").mkdir(parents=True, exist_ok=True)
for path, text in written.items():
    path.write_text(text, encoding="utf-8")
for path in (REFERENCE / "steps").glob("*.md"):
    if path not in written:
        path.unlink()
