"""Writes the pages of docs/reference that come from the code: `python -m docs.generator`."""
