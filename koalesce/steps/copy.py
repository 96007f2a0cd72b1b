"""The step `copy`: files and folders to and from pods, nodes and fixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field, StrictStr, field_validator, model_validator

from koalesce.errors import UsageError
from koalesce.steps.base import Action, Errored, Failed, Files, Outcome, Passed, StepContext
from koalesce.steps.inside.places import Source, select
from koalesce.steps.inside.tarballs import Copied, make_private_folder, pack, unpack
from koalesce.steps.inside.transfer import get, put
from koalesce.steps.vantage import Machines, taken

_AT_ONCE = 4
Ours = Annotated[StrictStr, Field(min_length=1)]


class RemotePath(Machines):
    """A path in a pod, on a node or on a fixture, or in or on several."""

    path: StrictStr
    """The absolute path there; at the end of a copy, this is the path of what was copied."""

    @field_validator("path")
    @classmethod
    def _is_absolute(cls, path: str) -> str:
        if "${{" in path:
            return path
        if not path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path:
            raise ValueError(f"{path} is no absolute path without ..")
        return path

    def at(self, name: str) -> PurePosixPath:
        """The path of what is copied; a path that ends with a slash is the folder that it goes to under its own name."""
        return PurePosixPath(self.path, name) if self.path.endswith("/") else PurePosixPath(self.path)

    def __str__(self) -> str:
        return f"{self.place()}:{self.path}"


class Copy(Action, key="copy"):
    """Copy a file or a folder of the project to pods, nodes or fixtures, or one of theirs into the run's folder, for people to look at.

    One of `from` and `to` is a path of ours, the other says where and which. It's done once: wait for the pods before. Links are followed, modes are kept. A container without `tar`
    is reached from its node, where the cluster gives a way to run commands on nodes. What a copy has changed on a node or a fixture is undone after the
    test.
    """

    from_: Ours | RemotePath = Field(alias="from", examples=["config/Corefile"])
    """A file or a folder, relative to the spec and within the project; or `{pod: web-0, path: /var/log/web}`."""

    to: Ours | RemotePath = Field(examples=[{"pod": "web-0", "path": "/etc/web/config"}])
    """Where to: `{pod: web-0, path: /etc/web/config}`; or a path below the run's folder for this test, in which copies from several places have
    a folder each. As it is: nothing in it is masked."""

    @model_validator(mode="after")
    def _one_side_is_ours(self) -> Copy:
        if isinstance(self.from_, RemotePath) == isinstance(self.to, RemotePath):
            raise ValueError(
                "one of from and to is a path of ours, the other a path in a pod, on a node or on a fixture"
            )
        if isinstance(self.to, str) and "${{" not in self.to:
            _below(self.to)
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way to run commands on nodes, where it's about their files."""
        return taken(written.get("from")) | taken(written.get("to"))

    def title(self) -> str:
        """From where to where."""
        return f"copy {self.from_} to {self.to}"

    def static_problems(self, files: Files) -> list[str]:
        """A file of ours that isn't there, or outside of the project."""
        if not isinstance(self.from_, str) or "${{" in self.from_:
            return []
        try:
            files.confined(self.from_)
        except UsageError as error:
            return [f"from: {error}"]
        return []

    def act(self, context: StepContext) -> Outcome:
        """Copy to or from all places at the same time."""
        match self.from_, self.to:
            case str(ours), RemotePath() as there:
                return self._send(ours, there, context)
            case RemotePath() as there, str(ours):
                return self._fetch(there, ours, context)
        raise AssertionError("one side is ours")

    def _send(self, ours: str, there: RemotePath, context: StepContext) -> Outcome:
        source = context.files.confined(ours)
        target = there.at(Path(ours).name or source.name)
        places = select(there, context)
        if not isinstance(places, list):
            return places
        import tempfile

        with tempfile.TemporaryDirectory(prefix="koalesce-") as folder:
            archive = Path(folder) / "archive"
            with archive.open("wb") as file:
                packed = pack(source, target.name, file, context.files)

            def send(place: Source) -> Failed | Errored | None:
                with archive.open("rb") as file:
                    return put(place, target, file, context)

            problems: list[Failed | Errored | None] = _everywhere(send, places)
        if (problem := next((each for each in problems if each is not None), None)) is not None:
            return problem
        values = [_value(place, there, packed, str(target)) for place in places]
        return Passed(f"{_amount(packed)} copied to {_where(places)}", _one_or_all(values, there))

    def _fetch(self, there: RemotePath, ours: str, context: StepContext) -> Outcome:
        if context.artifacts is None:
            return Errored("copies have no place to go to here", final=True)
        places = select(there, context)
        if not isinstance(places, list):
            return places
        below, name = _below(ours), PurePosixPath(there.path).name
        base = context.artifacts / below / name if ours.endswith("/") else context.artifacts / below

        def fetch(place: Source) -> dict[str, Any] | Failed | Errored:
            target = base if there.is_single else base / place.name.replace("/", ".")
            import tempfile

            with tempfile.TemporaryFile(prefix="koalesce-") as file:
                problem = get(place, PurePosixPath(there.path), file, context)
                if problem is not None:
                    return problem
                file.seek(0)
                make_private_folder(target.parent)
                unpacked, left_out = unpack(file, target)
            return {**_value(place, there, unpacked, str(target)), "leftOut": left_out}

        found: list[dict[str, Any] | Failed | Errored] = _everywhere(fetch, places)
        for each in found:
            if not isinstance(each, dict):
                return each
        values = [each for each in found if isinstance(each, dict)]
        total = sum(len(value["files"]) for value in values)
        said = "1 file" if total == 1 else f"{total} files"
        return Passed(f"{said} copied from {_where(places)} to {base}", _one_or_all(values, there))


def _everywhere(work: Any, places: Sequence[Source]) -> list[Any]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(places))) as pool:
        return list(pool.map(work, places))


def _below(path: str) -> PurePosixPath:
    """A path below the run's folder; ValueError if it leads elsewhere."""
    found = PurePosixPath(path)
    if found.is_absolute() or ".." in found.parts or "\0" in path:
        raise ValueError(f"{path} is no path below the run's folder; write a relative one without ..")
    return found


def _one_or_all(values: list[dict[str, Any]], there: RemotePath) -> Any:
    return values[0] if there.is_single else values


def _value(place: Source, there: RemotePath, copied: list[Copied], path: str) -> dict[str, Any]:
    """What outputs read: the files, and of a single one its SHA-256, too."""
    value: dict[str, Any] = {"name": place.name, "path": path, "files": [each.to_value() for each in copied]}
    if len(copied) == 1:
        value |= {"sha256": copied[0].sha256, "size": copied[0].size}
    return value


def _amount(copied: list[Copied]) -> str:
    return "1 file" if len(copied) == 1 else f"{len(copied)} files"


def _where(places: Sequence[Source]) -> str:
    return places[0].name if len(places) == 1 else f"{len(places)} places"
