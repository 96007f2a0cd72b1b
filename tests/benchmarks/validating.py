"""What checking specs costs: `koalesce validate` of one small spec, of one with all kinds of steps, and of many."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMES = 10
MANY = 1000
SMALL = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: small}
tests:
  - name: one
    steps:
      - apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: b}}}
      - wait-for: {resource: configmap/a, exists: true}
      - assert: {resource: configmap/a, match: {data: {a: b}}}
"""


def main() -> None:
    """Print seconds of CPU (median of ten, least), and how long many specs take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.yaml").write_text(SMALL)
        _show("a small spec", [_cpu(folder / "small.yaml") for _ in range(TIMES)])
        _show("specs/quickstart.yaml", [_cpu(ROOT / "specs" / "quickstart.yaml") for _ in range(TIMES)])
        many = folder / "many"
        many.mkdir()
        for number in range(MANY):
            (many / f"{number}.yaml").write_text(SMALL)
        began = time.monotonic()
        cpu = _cpu(many)
        print(f"  {f'{MANY:,} small specs':<42} {time.monotonic() - began:8.2f} s   CPU {cpu:6.2f} s")


def _show(what: str, seconds: list[float]) -> None:
    print(f"  {what:<42} CPU {statistics.median(seconds):6.3f} s  (least {min(seconds):.3f})")


def _cpu(path: Path) -> float:
    """Seconds of CPU, those of the interpreter's start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "koalesce", "validate", str(path)], cwd=ROOT, stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
