"""`go test` for Kubernetes software: specs that run on real, temporary clusters.

For programs: `run_spec` runs specs and gives typed results, `temporary_cluster` makes a cluster to work with. What is here is loaded
when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koalesce.errors import ClusterError, Interrupted, KoalesceError, ProvisionError, TeardownError, UsageError
    from koalesce.library.client import ClusterClient, StepFailed
    from koalesce.library.making import temporary_cluster
    from koalesce.library.results import ClusterResult, Problem, RunResult, SpecResult, StepResult, TestResult, TestTry
    from koalesce.library.running import run_spec

__version__ = "0.1.0"
__all__ = [
    "ClusterClient",
    "ClusterError",
    "ClusterResult",
    "Interrupted",
    "KoalesceError",
    "Problem",
    "ProvisionError",
    "RunResult",
    "SpecResult",
    "StepFailed",
    "StepResult",
    "TeardownError",
    "TestResult",
    "TestTry",
    "UsageError",
    "__version__",
    "run_spec",
    "temporary_cluster",
]
_PLACES = {
    **dict.fromkeys(
        ("ClusterError", "Interrupted", "KoalesceError", "ProvisionError", "TeardownError", "UsageError"), "errors"
    ),
    **dict.fromkeys(
        ("ClusterResult", "Problem", "RunResult", "SpecResult", "StepResult", "TestResult", "TestTry"),
        "library.results",
    ),
    **dict.fromkeys(("ClusterClient", "StepFailed"), "library.client"),
    "run_spec": "library.running",
    "temporary_cluster": "library.making",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
