"""`go test` for Kubernetes software: specs that run on real, temporary clusters."""

__version__ = "0.1.0"
