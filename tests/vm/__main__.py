"""Runs Koalesce in a virtual machine: Debian 12, cgroup v2, a kernel with IPVS, IPIP, netem and dummy links.

`python -m tests.vm` asks `koalesce doctor` there, and runs tests/vm/*.yaml; or the specs that are named. Tools and images must be in the
cache (`koalesce toolchain prepare`): the guest reaches no network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from koalesce.assets import cache_dir
from koalesce.errors import KoalesceError
from koalesce.terraform.binary import find_binary
from koalesce.vms.emulator import accelerator
from tests.vm import disk, machine

_HERE = Path(__file__).parent
_OUT = disk.CHECKOUT / ".koalesce" / "vm"  # what came out of the last run: its log, its console, evidence of failures
_LEGACY = "systemd.unified_cgroup_hierarchy=0"
_LAST_LINES = 30
_SETTINGS = "settings.yaml"


def main() -> int:
    """0: everything ended with 0 and left nothing behind; 1: not; 2: it could not be found out."""
    args = _arguments()
    if missing := _missing():
        print(f"no virtual machine can be made here: {missing}", file=sys.stderr)
        return 2
    specs = [path.resolve() for path in args.specs or sorted(_HERE.glob("*.yaml"))]
    if outside := [str(path) for path in specs if not path.is_relative_to(disk.CHECKOUT) or not path.is_file()]:
        print(f"the guest sees files of {disk.CHECKOUT} only, not {', '.join(outside)}", file=sys.stderr)
        return 2
    run = ["run", "-v", "--settings", f"/out/{_SETTINGS}"]
    task = [["python", "-m", "koalesce", "doctor"]]
    task += [["python", "-m", "koalesce", *run, str(path.relative_to(disk.CHECKOUT))] for path in specs]
    try:
        guest = disk.provide()
        if args.disk:
            print(f"the disk is {guest.disk.disk}")
            return 0
        shutil.rmtree(_OUT, ignore_errors=True)
        _OUT.mkdir(parents=True)
        return _run(args, guest, task, _OUT)
    except KoalesceError as error:
        print(f"no virtual machine can be made here: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "specs", nargs="*", type=Path, metavar="SPEC", help="specs of this checkout (default: tests/vm/*.yaml)"
    )
    parser.add_argument("--minutes", type=float, default=45, help="when it is ended at the latest (default: 45)")
    parser.add_argument(
        "--cgroup", choices=("v1", "v2"), default="v2", help="which version its systemd takes (default: v2)"
    )
    parser.add_argument(
        "--accelerator", choices=("kvm", "tcg"), help="default: kvm where the processor helps, else tcg"
    )
    parser.add_argument("--disk", action="store_true", help="only make the disk, where it isn't kept yet")
    return parser.parse_args()


def _missing() -> str:
    if os.uname().machine != "x86_64":
        return "its disk is for x86_64 only"
    if os.geteuid() != 0:
        return "root is needed to make its disk, as for local clusters"
    if shutil.which("mke2fs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        return "there is no mke2fs; install e2fsprogs"
    return ""


def _run(args: argparse.Namespace, guest: disk.Guest, task: list[list[str]], out: Path) -> int:
    accelerated = args.accelerator or accelerator()
    slow = (
        ""
        if accelerated == "kvm"
        else ": the processor doesn't help here, so that everything takes some ten times as long"
    )
    print(f"starting a virtual machine with {accelerated}{slow}", flush=True)
    _lend(out / "bin")
    (out / "task.json").write_text(json.dumps(task))
    (out / _SETTINGS).write_text(json.dumps({"local": {"timeout": f"{args.minutes:g}m"}}))
    argv = machine.command(
        guest,
        {"repo": disk.CHECKOUT, "cache": cache_dir(), "out": out},
        machine.Size(),
        accelerated,
        options=_LEGACY if args.cgroup == "v1" else "",
    )
    has_ended = machine.run(argv, guest, out, seconds=args.minutes * 60, tell=lambda line: print(line, flush=True))
    shutil.rmtree(out / "bin")
    if not (out / "ended.json").exists():
        return _unknown(
            out, "it ended before its task" if has_ended else f"it was ended after {args.minutes:g} minutes"
        )
    ended = json.loads((out / "ended.json").read_text())
    for each in ended["commands"]:
        print(f"{'ok  ' if each['code'] == 0 else 'FAIL'}  {each['seconds']:7.1f} s  {' '.join(each['command'][2:])}")
    return 1 if ended["left"] or any(each["code"] for each in ended["commands"]) else 0


def _lend(folder: Path) -> None:
    """This machine's Terraform, and its kubectl for steps that call it."""
    folder.mkdir()
    shutil.copy(find_binary(), folder / "terraform")
    if kubectl := shutil.which("kubectl"):
        shutil.copy(kubectl, folder / "kubectl")


def _unknown(out: Path, why: str) -> int:
    said = [line for name in ("console.txt", "qemu.txt") for line in _lines(out / name)][-_LAST_LINES:]
    print("\n".join([*(f"  | {line}" for line in said), f"the virtual machine told no result: {why}"]), file=sys.stderr)
    return 2


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
