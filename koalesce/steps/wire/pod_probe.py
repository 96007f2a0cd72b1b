"""Looking at the wire from a pod whose node can't be had: an ephemeral container in it, one for all steps, one command a look.

Where the cluster has `probe-icmp`, our program is put into the container when it's first needed there. Otherwise `agnhost connect` has to do, which tells neither who
said no nor what was answered.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from koalesce import process
from koalesce.errors import ClusterError, Interrupted
from koalesce.kube import ApiError, ephemeral
from koalesce.kube.marks import RUN_LABEL
from koalesce.steps.base import StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.wire import agnhost
from koalesce.steps.wire.agnhost import BY_ICMP, OF_ANSWERS, ProbeError

IMAGE = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"
FROM_PODS = "pod-probe"
_PREFIX = "koalesce-probe"
_STARTS_WITHIN = 120.0  # seconds, most of which an image takes that has to be pulled
_SUPPLY = 60.0
_CAP = 64 << 20
_USED = "/tmp/koalesce-used"  # noqa: S108 - of a container that nobody else has
# It ends when nobody has used it for a while, whatever has become of us: from ten to twenty minutes.
_STAY = f"trap 'exit 0' TERM; : >{_USED}; while [ -e {_USED} ]; do rm -f {_USED}; sleep 600 & wait $!; done"
_LACKING = 97  # no program ends so
_RUN = f': >{_USED}; [ -x "$0" ] || exit {_LACKING}; exec "$0"'
_RUN_ON = f': >{_USED}; [ -x "$0" ] || exit {_LACKING}; (while kill -0 $$; do : >{_USED}; sleep 60; done) <&- >&- 2>&- & exec "$0"'
_PUT = 'umask 022; head -c "$0" >"$1.$$" && chmod 755 "$1.$$" && "$1.$$" -version && mv "$1.$$" "$1"'


@dataclass(frozen=True, slots=True)
class PodProbe:
    """What runs the probe program in a pod, as a machine does on which it lies. Its name is that of the pod."""

    source: Source
    context: StepContext
    program: Callable[[StepContext], Path]
    version: str

    @property
    def name(self) -> str:
        """The pod, as people know it."""
        return self.source.name

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes | BinaryIO | None = None,
        stdout: BinaryIO | None = None,
        timeout: float | None = None,
        cancel: process.Cancel | None = None,
    ) -> process.Result:
        """Run the program (or another command of the container's, such as `true`) to its end; ProbeError where it can't be."""
        container = self._container(cancel)
        if command == ["true"]:
            return self._exec(container, command, timeout=_SUPPLY, cancel=cancel)
        if BY_ICMP not in self.context.cluster.capabilities:
            return self._connect(container, stdin, timeout, cancel)
        if not isinstance(stdin, bytes):
            return self._go_on(container, stdin, stdout, cancel)
        words = ["sh", "-c", _RUN, self._place]
        done = self._exec(container, words, stdin=stdin, timeout=timeout, cancel=cancel)
        if done.code == _LACKING:
            self._supply(container, cancel)
            done = self._exec(container, words, stdin=stdin, timeout=timeout, cancel=cancel)
        return done

    def _go_on(
        self, container: str, stdin: BinaryIO | None, stdout: BinaryIO | None, cancel: process.Cancel | None
    ) -> process.Result:
        """Run it until its input ends, of which nothing may be lost by a first try."""
        self._supply(container, cancel)
        words = ["sh", "-c", _RUN_ON, self._place]
        return self._exec(container, words, stdin=stdin, stdout=stdout, cancel=cancel)

    @property
    def _place(self) -> str:
        return place_of(self.version)

    def _container(self, cancel: process.Cancel | None) -> str:
        kube, source = self.context.cluster.kube, self.source
        wanted = ephemeral.Wanted(prefix=_PREFIX, image=image_of(self.context), command=("sh", "-c", _STAY))
        try:
            return ephemeral.ensure(
                kube,
                source.pod,
                source.namespace,
                wanted,
                keep_out=self._keep_out(),
                patience=_STARTS_WITHIN,
                cancel=cancel,
            )
        except Interrupted:
            raise
        except ClusterError as error:
            other = "; the setting probe_image of the provider names another" if "Image" in error.message else ""
            raise ProbeError(
                f"{self.name}: no probe runs in it, an ephemeral container of {wanted.image}: {error.message}{other}",
                is_final=error.is_final or (isinstance(error, ApiError) and not error.transient),
            ) from error

    def _keep_out(self) -> str:
        """Why nothing is to be added to the pod; empty if it may be: it's the run's own, or its owner lets us change what isn't."""
        cluster, source, run = self.context.cluster, self.source, self.context.labels.get(RUN_LABEL)
        if cluster.may_be_disturbed or (run and source.labels.get(RUN_LABEL) == run):
            return ""
        kind = cluster.kube.resource("namespaces")
        namespace = self.context.view.get(kind, source.namespace, cancel=self.context.scope.cancel) or {}
        if run and (namespace.get("metadata", {}).get("labels") or {}).get(RUN_LABEL) == run:
            return ""
        return "the pod isn't the run's, and would keep it: say --allow-disruption (or --allow-node-exec, which adds nothing to pods)"

    def _supply(self, container: str, cancel: process.Cancel | None) -> None:
        """Put the program into the container, unless it's there, and see that it can be run."""
        lock = self.context.cluster.probe_locks.setdefault((self.source.namespace, self.source.pod), threading.Lock())
        with lock:
            if self._exec(container, ["test", "-x", self._place], timeout=_SUPPLY, cancel=cancel).code == 0:
                return
            program = self.program(self.context).read_bytes()
            words = ["sh", "-c", _PUT, str(len(program)), self._place]
            done = self._exec(container, words, stdin=program, timeout=_SUPPLY, cancel=cancel)
        if done.code:
            raise ProbeError(
                f"{self.name}: the probe can't be put into the container {container}: {done.err.strip()[-300:]}; "
                "with the setting pod_probes: agnhost of the provider what the image has will do, and tells less"
            )

    def _connect(
        self, container: str, stdin: bytes | BinaryIO | None, timeout: float | None, cancel: process.Cancel | None
    ) -> process.Result:
        """Have agnhost try what the program would have been asked, and answer as that does, as far as it's known."""
        if not isinstance(stdin, bytes):
            raise ProbeError(f"{self.name}: asking again and again takes the capability {OF_ANSWERS}")
        sources = json.loads(stdin)["sources"]
        targets = [target for source in sources for target in source["targets"]]
        words = [agnhost.word_of(number, target, self.name) for number, target in enumerate(targets)]
        longest = max((target["limit"] for target in targets), default=0.0)
        patience = (timeout or 0.0) + agnhost.patience(len(words), longest)
        done = self._exec(container, ["sh", "-c", agnhost.SCRIPT, _USED, *words], timeout=patience, cancel=cancel)
        if done.code:
            return done
        results = iter(agnhost.results_of(done.out, len(words), f"{self.name}: {image_of(self.context)}"))
        answer = {
            "sources": [{"id": each["id"], "results": [next(results) for _ in each["targets"]]} for each in sources]
        }
        return process.Result(
            command=done.command, code=0, stdout=json.dumps(answer).encode(), stderr=done.stderr, seconds=done.seconds
        )

    def _exec(
        self, container: str, command: Sequence[str], *, stdin: bytes | BinaryIO | None = None, stdout: BinaryIO | None = None,
        timeout: float | None = None, cancel: process.Cancel | None = None,
    ) -> process.Result:  # fmt: skip
        try:
            done = self.context.cluster.kube.exec(
                self.source.pod, command, namespace=self.source.namespace, container=container, stdin=stdin, stdout=stdout,
                timeout=timeout or 10.0**6, cancel=cancel, cap=_CAP,
            )  # fmt: skip
        except ClusterError as error:
            raise ProbeError(f"{self.name}: the probe in it gave no answer: {error.message}") from error
        return process.Result(
            command=tuple(command),
            code=done.code,
            stdout=done.stdout,
            stderr=done.stderr,
            seconds=done.seconds,
            truncated=done.truncated,
        )


def image_of(context: StepContext) -> str:
    """The image of the containers."""
    return context.cluster.probe_image or IMAGE


def place_of(version: str) -> str:
    """Where the program lies in them."""
    return f"/tmp/koalesce-probe-{version}"  # noqa: S108 - of a container that nobody else has


def command_of(
    source: Source, words: Sequence[str], target: Mapping[str, Any], context: StepContext, version: str
) -> list[str]:
    """The words that show a person the same as `words` of the program do, or as agnhost does."""
    where = ["-n", source.namespace]
    if BY_ICMP in context.cluster.capabilities:
        return ["kubectl", "exec", *where, source.pod, "-c", f"{_PREFIX}-1", "--", place_of(version), *words]
    _, limit, protocol, place = agnhost.word_of(0, target, source.name).split()
    connect = ["/agnhost", "connect", place, f"--timeout={limit}", f"--protocol={protocol}"]
    return ["kubectl", "debug", *where, "-it", source.pod, f"--image={image_of(context)}", "--", *connect]
