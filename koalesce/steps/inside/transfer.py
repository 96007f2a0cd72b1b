"""Archives into and out of pods, nodes and fixtures: by `tar` in the container, or, where it has none, from its node."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from koalesce import process
from koalesce.kube import ApiError, ExecTimeout
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.inside.places import Source, seconds_left

_UNDO_SECONDS = 30.0
_NO_PROGRAM = re.compile(r"executable file not found|no such file or directory|not found in \$PATH")
# GNU tar's code 1: a file changed while it was read, as logs do.
_HARMLESS = re.compile(r"file changed as we read it|Removing leading|socket ignored")
# A container's files seen from its node: below /proc/PID/root, where links must not be followed by the node's own root.
_ROOT = r"""
root= owner=
if [ -n "$1" ]; then
  pid=$(grep -ls -- "$1" /proc/[0-9]*/cgroup | sed 's|^/proc/||; s|/cgroup$||' | sort -n | head -n 1)
  [ -n "$pid" ] || { echo "no process of this container runs on this node" >&2; exit 3; }
  root=/proc/$pid/root owner=$(stat -c %u:%g "/proc/$pid")
fi
resolve() {
  at= rest=$1 links=0
  while [ -n "$rest" ]; do
    part=${rest%%/*}
    case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
    case $part in '' | .) continue ;; ..) at=${at%/*} ; continue ;; esac
    if [ -L "$root$at/$part" ]; then
      links=$((links + 1))
      [ "$links" -le 40 ] || { echo "too many links in $1" >&2; exit 3; }
      link=$(readlink "$root$at/$part")
      case $link in /*) at= ;; esac
      rest=$link/$rest
    else
      at=$at/$part
    fi
  done
  path=$root$at
}
"""
_PUT = (
    _ROOT
    + r"""
resolve "$2"
mkdir -p "$path" && tar -xpof - -C "$path" || exit $?
[ -z "$owner" ] || chown -R "$owner" "$path/$3"
"""
)
_GET = (
    _ROOT
    + r"""
resolve "$2"
[ -e "$path" ] || { echo "$2: No such file or directory" >&2; exit 2; }
exec tar -cf - -C "$(dirname "$path")" "$(basename "$path")"
"""
)
# Keeps what is at a path on a node; prints what to remove afterwards (a folder above it, if that isn't there yet), and where the old is kept.
_KEEP = r"""
new=$1 keep=
if [ -e "$new" ]; then
  keep=$(mktemp -d) && cp -a -- "$new" "$keep/old" || exit 1
else
  while [ ! -e "$(dirname "$new")" ]; do new=$(dirname "$new"); done
fi
printf '%s\n%s\n' "$new" "$keep"
"""
_RESTORE = r'rm -rf -- "$1"; [ -z "$2" ] || { cp -a -- "$2/old" "$1" && rm -rf -- "$2"; }'


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a command ended."""

    code: int
    err: str


def put(source: Source, path: PurePosixPath, archive: BinaryIO, context: StepContext) -> Failed | Errored | None:
    """Unpack an archive, whose one entry at the top is named as the path is, so that it comes to be at this path."""
    ended: _Ended | Errored | None
    folder = str(path.parent)
    if source.kind != "pod":
        _keep(source, str(path), context)
        ended = _on_node(source, [_PUT, "", folder, path.name], context, stdin=archive)
        return _problem(source, f"can't be copied to {path}", ended)
    made = _in_pod(source, ["mkdir", "-p", folder], context) if folder != "/" else _Ended(0, "")
    ended = made
    if isinstance(made, _Ended) and made.code == 0:
        ended = _in_pod(source, ["tar", "-xpof", "-", "-C", folder], context, stdin=archive)
    if ended is None:
        archive.seek(0)
        ended = _from_node(source, [_PUT, source.container_id, folder, path.name], context, stdin=archive)
    return _problem(source, f"can't be copied to {path}", ended)


def get(source: Source, path: PurePosixPath, archive: BinaryIO, context: StepContext) -> Failed | Errored | None:
    """Pack a file or a folder into an archive, with one entry at the top."""
    ended: _Ended | Errored | None
    if source.kind != "pod":
        ended = _on_node(source, [_GET, "", str(path), ""], context, stdout=archive)
        return _problem(source, f"{path} can't be copied", ended)
    ended = _in_pod(source, ["tar", "-chf", "-", "-C", str(path.parent), path.name or "."], context, stdout=archive)
    if ended is None:
        archive.seek(0)
        archive.truncate()
        ended = _from_node(source, [_GET, source.container_id, str(path), ""], context, stdout=archive)
    return _problem(source, f"{path} can't be copied", ended)


def _keep(source: Source, path: str, context: StepContext) -> None:
    """See to it that the node or fixture is afterwards as it was before."""
    node = source.machine
    if node is None or not node.exec:
        return
    kept = node.run(["sh", "-c", _KEEP, "sh", path], timeout=seconds_left(context.scope), cancel=context.scope.cancel)
    new, where = kept.check().out.splitlines()

    def restore() -> None:
        node.run(["sh", "-c", _RESTORE, "sh", new, where], timeout=_UNDO_SECONDS).check()

    context.scope.defer(f"{path} on {node.name}", restore)


def _in_pod(source: Source, command: Sequence[str], context: StepContext, **streams: Any) -> _Ended | Errored | None:
    """Run a command in the container; None if it has no such program."""
    try:
        done = context.cluster.kube.exec(
            source.pod, command, namespace=source.namespace, container=source.container,
            timeout=seconds_left(context.scope), cancel=context.scope.cancel, **streams,
        )  # fmt: skip
    except ExecTimeout as error:
        return _not_in_time(source, error)
    except ApiError as error:
        if error.status == 500 and _NO_PROGRAM.search(error.message):
            return None
        raise
    return _Ended(done.code, done.err)


def _from_node(source: Source, words: Sequence[str], context: StepContext, **streams: Any) -> _Ended | Errored:
    if source.node is None or not source.node.exec or not source.container_id:
        said = f"{source.name}: the container has no tar, and the cluster gives no way to reach its files from its node"
        return Errored(said, final=True)
    return _on_node(source, words, context, **streams)


def _on_node(source: Source, words: Sequence[str], context: StepContext, **streams: Any) -> _Ended | Errored:
    """Run one of the scripts above on the source's node, or on itself."""
    machine = source.machine
    if machine is None or not machine.exec:
        return Errored(f"the cluster gives no way to run commands on {source.name}", final=True)
    script, *arguments = words
    try:
        done = machine.run(
            ["sh", "-c", script, "sh", *arguments],
            timeout=seconds_left(context.scope), cancel=context.scope.cancel, **streams,
        )  # fmt: skip
    except process.CommandTimeout as error:
        return _not_in_time(source, error)
    return _Ended(done.code, done.err)


def _not_in_time(source: Source, error: process.CommandTimeout | ExecTimeout) -> Errored:
    if error.cancelled:
        raise error
    return Errored(f"{source.name}: the copy wasn't done in time", final=True)


def _problem(source: Source, what: str, ended: _Ended | Errored | None) -> Failed | Errored | None:
    if ended is None or isinstance(ended, Errored):
        return ended
    lines = [line for line in ended.err.splitlines() if line.strip()]
    if ended.code == 0 or (ended.code == 1 and lines and all(_HARMLESS.search(line) for line in lines)):
        return None
    said = "; ".join(lines[-3:]) or f"exit code {ended.code}"
    if ended.code == 3 and source.kind == "pod":
        return Errored(f"{source.name}: {what}: {said}", final=True)
    return Failed(f"{source.name}: {what}: {said}", "a copy", said, final=True)
