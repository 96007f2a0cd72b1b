"""One run of tcpdump, on a machine or in a pod's network there, until it is told to end; packets go into a file of ours."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path

from koalesce import process
from koalesce.errors import ClusterError, KoalesceError
from koalesce.records import dataclass
from koalesce.steps.base import Errored, StepContext
from koalesce.steps.inside.places import Source, seconds_left
from koalesce.steps.objects.reading import shortened
from koalesce.steps.wire.fates import killed_by
from koalesce.steps.wire.pcap import HEADER

MOST = 100_000  # packets of one capture
_GRACE = 15.0  # seconds in which it must have ended
_LOOK = 0.05
_NOT_YET = "No such device"  # a link that may yet come
_KEPT = 512  # bytes of each packet
_DROPPED = re.compile(r"(\d+) packets? dropped by kernel")
# It ends when its standard input does, so that it outlives nobody who has started it. On SIGUSR1, tcpdump says how many packets it has written, and how many
# the kernel had for it: it is ended once it has caught up.
_RUN = rf"""
container=$1 interface=$2 most=$3 filter=$4 folder=$5 enter=
log=$(mktemp) || exit
trap 'rm -rf "$log" $folder' EXIT
if [ -n "$container" ]; then
  pid=$(grep -ls -- "$container" /proc/[0-9]*/cgroup | head -n 1); pid=${{pid#/proc/}}; pid=${{pid%/cgroup}}
  [ -n "$pid" ] || {{ echo 'no process of the container runs on its node' >&2; exit 3; }}
  enter="nsenter -t $pid -n"
fi
[ -z "$folder" ] || PATH=$folder:$PATH
dump="$enter env LD_LIBRARY_PATH=$folder tcpdump -Z root -n -i $interface"
$dump -d "$filter" >/dev/null || exit
$dump -U --immediate-mode -s {_KEPT} -c "$most" -w - "$filter" 2>"$log" &
read -r _
for n in $(seq 50); do
  kill -USR1 $! 2>/dev/null || break
  sleep 0.1
  set -- $(tail -n 1 "$log")
  [ "$4 $2" != "captured, $5" ] || break
done
kill -TERM $! 2>/dev/null
wait $!; code=$?
cat "$log" >&2
exit $code
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of it. `problem` says why it doesn't tell all there was; else it's empty."""

    data: bytes
    problem: str = ""


class Recording:
    """A tcpdump that runs; `words` are its interface, the number of packets at which it ends, its filter, and the folder that it was brought to."""

    def __init__(self, source: Source, path: Path, words: Sequence[str]) -> None:
        self._source, self._path = source, path
        self._file = path.open("wb")
        self._cancel = threading.Event()
        self._result: process.Result | None = None
        self._error = ""
        stdin, hold = os.pipe()
        self._stdin, self._hold = os.fdopen(stdin, "rb"), os.fdopen(hold, "wb")
        self._command = ["sh", "-c", _RUN, "sh", source.container_id, *words]
        self._thread = threading.Thread(target=self._live, name=f"capture {source.name}", daemon=True)
        self._thread.start()

    def await_begun(self, cancel: process.Cancel, seconds: float) -> Errored | None:
        """Wait until it sees whatever comes; why it won't, if it won't."""
        for _ in range(max(1, int(seconds / _LOOK))):
            if self._path.stat().st_size >= HEADER:
                return None
            if cancel.is_set() or not self._thread.is_alive():
                break
            self._thread.join(_LOOK)
        said = self.end().problem
        is_final = said.startswith("tcpdump: ") and _NOT_YET not in said
        return Errored(f"{self._source.name}: {said or 'tcpdump did not begin'}", final=is_final)

    def end(self) -> Recorded:
        """Tell it to end, and say what it has seen."""
        with contextlib.suppress(OSError):
            self._hold.close()
        self._thread.join(_GRACE)
        if self._thread.is_alive():
            self._cancel.set()
            self._thread.join(_GRACE)
        return Recorded(data=self._path.read_bytes(), problem=self._problem())

    def _problem(self) -> str:
        if self._error or self._result is None:
            return self._error or "tcpdump did not end when it was told to"
        said = self._result.err.strip()
        if self._result.code < 0:
            return f"tcpdump was {killed_by(-self._result.code, self._source.machine)}"
        if self._result.code:
            return shortened(said[max(0, said.rfind("tcpdump: ")) :]) or f"tcpdump ended with code {self._result.code}"
        dropped = [int(number) for number in _DROPPED.findall(said)]  # what it says last is all of it
        return f"{dropped[-1]} packets came too fast to be kept" if dropped and dropped[-1] else ""

    def _live(self) -> None:
        machine = self._source.machine
        assert machine is not None  # noqa: S101 - seen before
        try:
            self._result = machine.run(self._command, stdin=self._stdin, stdout=self._file, cancel=self._cancel)
        except KoalesceError as error:
            self._error = error.message
        finally:
            self._stdin.close()
            self._file.close()


def brought(source: Source, context: StepContext) -> str:
    """A new folder on a machine with a tcpdump of this one's, and its libraries; empty if the machine has its own."""
    from koalesce.toolchain import Toolchain

    machine = source.machine
    assert machine is not None  # noqa: S101 - seen before
    patience = seconds_left(context.scope)
    if not machine.run(["sh", "-c", "command -v tcpdump"], timeout=patience, cancel=context.scope.cancel).code:
        return ""
    root = Toolchain(cancel=context.scope.cancel).with_command("tcpdump")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        libraries = (root / "usr/lib").glob("*/libpcap.so.*" if root == Path("/") else "**/lib*.so.*")
        for path in (*root.glob("usr/*bin/tcpdump"), *libraries):
            tar.add(path.resolve(), arcname=path.name)
    script = "d=$(mktemp -d) && tar -x -f - -C $d && echo $d"
    done = machine.run(["sh", "-ec", script], stdin=archive.getvalue(), timeout=patience, cancel=context.scope.cancel)
    if done.code:
        raise ClusterError(f"{source.name}: tcpdump can't be brought there: {shortened(done.err)}")
    return done.out.strip()
