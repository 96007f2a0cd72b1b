"""Image definitions: the YAML files that say what an image is made of, read with positions."""

from __future__ import annotations

import difflib
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from koalesce.errors import UsageError
from koalesce.toolchain.reference import Reference

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_LIMIT = 1 << 20


class BadDefinition(UsageError):
    """An image definition isn't valid; names every problem with its place."""


def _absolute(place: str) -> str:
    path = PurePosixPath(place)
    if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
        raise ValueError(f"{place!r} is no place in an image; write an absolute path without `..`")
    return str(path)


def _mode(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3,4}", value):
        return int(value, 8)
    raise ValueError(f"{value!r} is no mode; write it in quotes, such as '0755'")


Place = Annotated[str, AfterValidator(_absolute)]
Mode = Annotated[int, BeforeValidator(_mode)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class GoProgram(_Model):
    """A Go program, built statically from a module whose go.mod and go.sum pin everything."""

    folder: str = Field(description="Folder with go.mod and go.sum, relative to the definition.")
    package: str = Field(
        default=".", description="Package to build: `.`, `./cmd/x`, or an import path that go.mod requires."
    )
    to: Place = Field(description="Where the binary goes in the image.")
    mode: Mode = Field(default=0o755, description="Its permissions, such as '4755': run as root, whoever calls it.")
    cgo: bool = Field(default=False, description="Build with cgo, linked statically; needs a C compiler.")
    tags: tuple[str, ...] = Field(default=(), description="Build tags.")
    ldflags: str = Field(
        default="", description="Flags for the linker, such as `-X example.com/version.Version=v1.0.0`."
    )


class File(_Model):
    """A file of the image: copied from beside the definition, or written out here."""

    source: str | None = Field(default=None, alias="from", description="File or folder, relative to the definition.")
    content: str | None = Field(default=None, description="The contents themselves.")
    to: Place = Field(description="Where it goes in the image.")
    mode: Mode | None = Field(
        default=None, description="Permissions, such as '0755'; default: as the source, or '0644'."
    )

    @model_validator(mode="after")
    def _one_source(self) -> File:
        if (self.source is None) == (self.content is None):
            raise ValueError("give either `from` or `content`")
        return self


class ImageDefinition(_Model):
    """An image that Koalesce builds without Docker; packages bring a root file system, so there is no base image."""

    api_version: Literal["koalesce.dev/v1alpha1"] = Field(alias="apiVersion")
    kind: Literal["Image"]
    ref: str = Field(description="The reference that the image gets.")
    packages: tuple[str, ...] = Field(default=(), description="Debian packages; what they depend on comes with them.")
    go: tuple[GoProgram, ...] = Field(default=(), description="Go programs to build.")
    files: tuple[File, ...] = Field(default=(), description="Files to add.")
    links: dict[Place, str] = Field(default_factory=dict, description="Symbolic links: place → target.")
    entrypoint: tuple[str, ...] = Field(default=(), description="What runs.")
    command: tuple[str, ...] = Field(default=(), description="Its arguments, unless a pod gives others.")
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables.")
    workdir: Place | Literal["/", ""] = Field(default="", description="Folder that it runs in.")
    user: str = Field(default="", description="User that it runs as: `UID` or `UID:GID`.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of the image.")

    @model_validator(mode="after")
    def _valid_reference(self) -> ImageDefinition:
        try:
            Reference.parse(self.ref)
        except UsageError as error:
            raise ValueError(f"ref: {error.message}") from error
        for package in self.packages:
            if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package):
                raise ValueError(f"packages: {package!r} is no name of a Debian package")
        return self


def load(path: Path) -> ImageDefinition:
    """Read a definition; raises BadDefinition with `file:line:col` for every problem."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if path.stat().st_size > _LIMIT:
            raise BadDefinition(f"{path}: too large for an image definition")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadDefinition(
            f"{path}: can't be read: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}"
        ) from error
    yaml = YAML(typ="rt")
    try:
        document = yaml.load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise BadDefinition(f"{path}{where}: invalid YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(document, dict):
        raise BadDefinition(f"{path}:1:1: not an image definition; it starts with `apiVersion: koalesce.dev/v1alpha1`")
    try:
        return ImageDefinition.model_validate(document)
    except ValidationError as error:
        problems = [_problem(path, document, details) for details in error.errors()]
        raise BadDefinition("\n".join(problems)) from error


def _problem(path: Path, document: Any, details: ErrorDetails) -> str:
    line, column = _position(document, details["loc"])
    name = _name(details["loc"])
    prefix = f"{path}:{line}:{column}: " + (f"{name}: " if name else "")
    if details["type"] == "extra_forbidden":
        return prefix + "unknown field" + _did_you_mean(str(details["loc"][-1]), details["loc"])
    if details["type"] == "missing":
        return prefix + "must be given"
    return prefix + details["msg"].removeprefix("Value error, ")


def _did_you_mean(word: str, place: tuple[int | str, ...]) -> str:
    nested: dict[str, type[BaseModel]] = {"go": GoProgram, "files": File}
    model = nested.get(str(place[0]), ImageDefinition)
    known = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; known are {', '.join(sorted(known))}"


def _name(place: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def _position(document: Any, place: tuple[int | str, ...]) -> tuple[int, int]:
    """Line and column of the deepest part of a place that is in the document."""
    line, column = 1, 1
    for part in place:
        try:
            marks = document.lc.key(part) if isinstance(part, str) else document.lc.item(part)
            document = document[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
        line, column = marks[0] + 1, marks[1] + 1
    return line, column
