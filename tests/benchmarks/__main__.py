"""Every benchmark, one after the other: `python -m tests.benchmarks`. Prints figures, asserts none."""

from __future__ import annotations

from tests.benchmarks import cluster_start, networking, operations, reports, requests, resetting, validating, waiting


def main() -> None:
    """Print all of them."""
    for benchmark in (waiting, requests, operations, networking, cluster_start, resetting, reports, validating):
        print(f"\n{(benchmark.__doc__ or '').splitlines()[0]}")
        benchmark.main()


main()
