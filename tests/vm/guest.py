"""What the guest does once it has booted: takes the shared folders, carries out its task, and tells how that went. Needs no packages."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import TextIO

_OUT = Path("/out")
_CHECKOUT = Path("/checkout")
_OF_MODULES = ("tunl0", "gre0", "gretap0", "erspan0", "dummy0")  # made by the kernel, where it loads the module
_ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/out/bin:/opt/koalesce/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": str(_CHECKOUT),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "NO_COLOR": "1",
    "KOALESCE_CACHE_DIR": "/cache",
    "KOALESCE_STATE_DIR": "/var/lib/koalesce",
    "KOALESCE_TOOL_RUNC": "/usr/sbin",
}


def main() -> None:
    _share("out", _OUT, "rw,cache=none")
    _share("cache", Path("/mnt/cache"), "ro,cache=loose")
    _overlay(Path("/mnt/cache"), Path("/cache"))
    _overlay(Path("/repo"), _CHECKOUT)
    _keep(_CHECKOUT / ".koalesce", _OUT / "evidence")
    task = json.loads((_OUT / "task.json").read_text())
    with (_OUT / "log.txt").open("a", buffering=1) as log:
        print(_machine(), file=log)
        before = _traces()
        ended = [_carry_out(argv, log) for argv in task]
        left = sorted(_traces() - before)
        print(f"left behind: {', '.join(left) or 'nothing'}", file=log)
    (_OUT / "ended.json").write_text(json.dumps({"commands": ended, "left": left}))


def _share(tag: str, at: Path, options: str) -> None:
    at.mkdir(parents=True, exist_ok=True)
    words = f"trans=virtio,version=9p2000.L,msize=524288,{options}"
    subprocess.run(["mount", "-t", "9p", "-o", words, tag, at], check=True)


def _overlay(lower: Path, at: Path) -> None:
    """What is written there goes to memory."""
    memory = Path("/mnt/memory", at.name)
    memory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", memory], check=True)
    for folder in (memory / "upper", memory / "work", at):
        folder.mkdir()
    options = f"lowerdir={lower},upperdir={memory}/upper,workdir={memory}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", at], check=True)


def _keep(folder: Path, at: Path) -> None:
    """What is written to this folder comes out."""
    for path in (folder, at):
        path.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", at, folder], check=True)


def _machine() -> str:
    cgroups = [line.split()[2] for line in Path("/proc/mounts").read_text().splitlines() if "/sys/fs/cgroup" in line]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return (
        f"Linux {platform.release()}, {os.cpu_count()} processors, {int(memory) / 2**20:.1f} GiB of memory, "
        f"cgroups: {' '.join(cgroups)}, up after {time.monotonic():.0f} s"
    )


def _traces() -> set[str]:
    """What clusters make that doesn't end with a process: cgroups, links, mounts."""
    groups = {f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob("**/koalesce*") if path.is_dir()}
    links = {f"link {path.name}" for path in Path("/sys/class/net").iterdir() if path.name not in _OF_MODULES}
    mounts = {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()}
    return groups | links | {f"mount {mount}" for mount in mounts if "koalesce" in mount}


def _carry_out(argv: list[str], log: TextIO) -> dict[str, object]:
    print(f"\n$ {' '.join(argv)}", file=log, flush=True)
    began = time.monotonic()
    code = subprocess.run(
        argv, cwd=_CHECKOUT, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
    ).returncode
    seconds = round(time.monotonic() - began, 1)
    print(f"ended with {code} after {seconds} s", file=log, flush=True)
    return {"command": argv, "code": code, "seconds": seconds}


if __name__ == "__main__":
    main()
