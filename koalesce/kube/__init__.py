"""Kubernetes: raw dicts over one shared TLS context. The only importer of `kubernetes`."""
