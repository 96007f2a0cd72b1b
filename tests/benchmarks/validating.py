"""What a short command costs: `koalesce --help`, and `validate` of a small spec, of larger ones, and of many; compiled, as installed packages are."""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMES = 10
MANY = 1000
LARGER = ("specs/quickstart.yaml", "specs/kube-router.yaml", "docs/examples/curl.yaml")
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
    """Print seconds of CPU (median of ten, least), instructions, which a busy machine doesn't change, and how long many specs take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        many = folder / "many"
        many.mkdir()
        for number in range(MANY):
            (many / f"{number}.yaml").write_text(SMALL)
        (folder / "small.yaml").write_text(SMALL)
        specs = (("a small spec", folder / "small.yaml"), *((name, ROOT / name) for name in LARGER))
        commands = [("--help", ["--help"]), *((what, ["validate", str(path)]) for what, path in specs)]
        for what, words in commands:
            command = [sys.executable, "-m", "koalesce", *words]
            _cpu_of(command, environment)  # compiles what it needs
            _show(what, [_cpu_of(command, environment) for _ in range(TIMES)], _instructions(command, environment))
        print(f"  {f'{MANY:,} small specs':<42} CPU {_cpu(many, environment):6.3f} s")
        bare = [_cpu_of([sys.executable, "-c", "from pydantic import BaseModel"], environment) for _ in range(TIMES)]
        _show("for scale: Python with pydantic, no spec", bare)


def _show(what: str, seconds: list[float], instructions: str = "") -> None:
    print(f"  {what:<42} CPU {statistics.median(seconds):6.3f} s  (least {min(seconds):.3f}){instructions}")


def _instructions(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """How many instructions a command takes, as valgrind counts them; empty where there is no valgrind."""
    if shutil.which("valgrind") is None:
        return ""
    counting = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", *command]
    done = subprocess.run(
        counting, cwd=ROOT, env={**environment, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True
    )
    counted = re.search(r"I +refs: +([\d,]+)", done.stderr)
    return f"  {int(counted[1].replace(',', '')) / 1e6:6.0f} M instructions" if counted else ""


def _cpu(path: Path, environment: Mapping[str, str]) -> float:
    """Seconds of CPU to validate what is at a path, those of the interpreter's start included."""
    return _cpu_of([sys.executable, "-m", "koalesce", "validate", str(path)], environment)


def _cpu_of(command: Sequence[str], environment: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
