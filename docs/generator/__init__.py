"""Writes what comes from the code, the pages of docs/reference, schemas/ and what all of terraform/ share: `python -m docs.generator`."""
