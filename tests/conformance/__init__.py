"""Upstream's conformance tests on a local cluster: `make conformance`; docs/explanation/conformance.md says how they end."""
