r"""The artifact on disk: its files, its digest, and what its `model.json` says.

Nothing here needs torch, so that `fetch` can verify what it downloaded and stay small; the
weights' content is judged by `weights` when the server loads them.

The digest is the SHA-256 of one line per regular file, `<sha256><two spaces><path>\n`, sorted by
the path's bytes, which a shell can repeat:
`cd artifact && find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`.

Others may write to the folder meanwhile, so only bytes that were hashed are used: `model.json` is
parsed from those that the digest is made of, and `Artifact.read_weights` hashes what it returns.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_server.errors import ArtifactRefused, DigestMismatch, ManifestRefused, WeightsRefused

MANIFEST = "model.json"
MANIFEST_MAX_BYTES = 1024 * 1024

# A pipe is not waited for, and a link not followed.
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)

_Positive = Annotated[int, Field(ge=1, le=65536)]
# Numbers that float32 can be normalised with.
_Mean = Annotated[float, Field(ge=-1e6, le=1e6)]
_Deviation = Annotated[float, Field(ge=1e-6, le=1e6)]
_Label = Annotated[str, Field(pattern=r"\S")]
_Labels = Annotated[tuple[_Label, ...], Field(min_length=2, max_length=20_000)]


class _Part(BaseModel):
    """What all of model.json's objects have in common: exact types, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Architecture(_Part):
    """Which network the weights belong to, and its parameters."""

    name: Literal["SimpleCNN"]
    channels: Annotated[tuple[_Positive, ...], Field(min_length=2, max_length=16)]
    depth: Annotated[int, Field(ge=0, le=16)] = 0
    """Residual units in each block; manifests of models without any do not say it."""

    @model_validator(mode="after")
    def _takes_rgb(self) -> Architecture:
        if self.channels[0] != 3:
            raise ValueError("the first number of channels must be 3: pictures are RGB")
        return self


class Input(_Part):
    """What the network is fed: RGB of `height` x `width`, normalised per channel."""

    height: Annotated[int, Field(ge=1, le=4096)]
    width: Annotated[int, Field(ge=1, le=4096)]
    mean: Annotated[tuple[_Mean, ...], Field(min_length=3, max_length=3)]
    std: Annotated[tuple[_Deviation, ...], Field(min_length=3, max_length=3)]


class Weights(_Part):
    """Which file of the artifact holds the state dict, and its SHA-256."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(safetensors|pt)$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(_Part):
    """The whole of `model.json`."""

    format_version: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=250)]
    architecture: Architecture
    classes: _Labels
    input: Input
    weights: Weights
    metrics: dict[str, int | float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_consistent(self) -> Manifest:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is listed twice")
        halvings = len(self.architecture.channels) - 1
        if min(self.input.height, self.input.width) < 2**halvings:
            raise ValueError(
                f"the input is halved {halvings} times, so each side needs {2**halvings} pixels"
            )
        area = self.input.height * self.input.width
        if max(n * area >> 2 * i for i, n in enumerate(self.architecture.channels[1:])) > 2**28:
            raise ValueError("one picture would take more than 1 GiB in one layer")
        return self


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact whose every byte was read and matches its digests."""

    folder: Path
    digest: str
    manifest: Manifest

    def read_weights(self) -> bytes:
        """Return the weights file's bytes, whose SHA-256 is the one that was verified.

        Raises:
            ArtifactRefused: they have changed since, or cannot be read.

        """
        weights = self.manifest.weights
        path = self.folder / weights.file
        with _reading(path), os.fdopen(os.open(path, _PLAIN), "rb") as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != weights.sha256:
            raise WeightsRefused(
                f"{weights.file} changed after it was verified: write nothing to a folder that is"
                " served, and start again."
            )
        return content


def digest(folder: Path) -> str:
    """Return the artifact's digest, 64 hex digits.

    Raises:
        ArtifactRefused: the folder is missing, empty, or holds what has no place in an artifact.

    """
    return _digest_of(_read(folder).digests)


def verify(folder: Path, expected_digest: str | None = None) -> Artifact:
    """Read every byte in `folder` once and return the artifact if all of it is as it must be.

    Raises:
        DigestMismatch: the bytes are not those of `expected_digest`.
        ManifestRefused: `model.json` is missing, or says what cannot be served.
        WeightsRefused: the weights file is missing, or is not the one `model.json` describes.
        ArtifactRefused: the folder is missing, empty, holds what has no place in an artifact, or
            cannot be read.

    """
    read = _read(folder)
    files = read.digests
    found = _digest_of(files)
    if expected_digest is not None and found != expected_digest:
        raise DigestMismatch(
            f"The artifact's digest is {found}, but {expected_digest} was asked for: the bytes are"
            " not those that were registered; register the model again, or correct the digest."
        )
    manifest = parse_manifest(read.manifest)
    weights = manifest.weights
    if weights.file not in files:
        raise WeightsRefused(
            f"{MANIFEST} names the weights file {weights.file}, which the artifact does not hold:"
            " export the model again."
        )
    if files[weights.file] != weights.sha256:
        raise WeightsRefused(
            f"The SHA-256 of {weights.file} is {files[weights.file]}, but {MANIFEST} says"
            f" {weights.sha256}: the weights were changed after the export; export the model again."
        )
    return Artifact(folder=folder, digest=found, manifest=manifest)


@dataclass(frozen=True, slots=True)
class _Read:
    digests: dict[str, str]
    """Each file's POSIX path, relative to the folder, and its SHA-256."""
    manifest: bytes | None
    """What the digest of model.json was made of, and one byte too much of it at the most."""


def _read(folder: Path) -> _Read:
    """Open every file once, without following links, and read it to its end."""
    digests: dict[str, str] = {}
    manifest = None
    with _reading(folder):
        if not folder.is_dir():
            raise ArtifactRefused(
                f"There is no artifact folder at {folder}: mount one there, or name it by"
                " MODEL_PATH or --artifact."
            )
        top = os.path.realpath(folder)
        for parent, folders, files, descriptor in os.fwalk(top, onerror=_raise):
            where = Path(parent).relative_to(top)
            for name in folders:
                path = (where / name).as_posix()
                if not stat.S_ISDIR(_mode(name, descriptor)):
                    raise _not_regular(path)
            for name in files:
                path = (where / name).as_posix()
                digests[path], start = _read_file(folder, path, name, descriptor)
                manifest = start if path == MANIFEST else manifest
    if not digests:
        raise ArtifactRefused(f"The artifact folder {folder} is empty: export the model into it.")
    return _Read(digests, manifest)


def _read_file(folder: Path, path: str, name: str, descriptor: int) -> tuple[str, bytes]:
    """Return the SHA-256 of one file, and the start that it has read of a model.json."""
    if not stat.S_ISREG(_mode(name, descriptor)):
        raise _not_regular(path)
    if not path.isprintable() or "\\" in path:
        raise ArtifactRefused(
            f"The artifact holds a file named {path!r}, whose name a digest cannot carry:"
            " rename it and register the model again."
        )
    with _reading(folder / path), os.fdopen(os.open(name, _PLAIN, dir_fd=descriptor), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _not_regular(path)
        start = file.read(MANIFEST_MAX_BYTES + 1) if path == MANIFEST else b""
        return hashlib.file_digest(file, lambda: hashlib.sha256(start)).hexdigest(), start


def _mode(name: str, descriptor: int) -> int:
    return os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode


def _not_regular(path: str) -> ArtifactRefused:
    return ArtifactRefused(
        f"The artifact holds {path!r}, which is not a regular file: an artifact is plain files"
        " only; export the model again."
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say what it means for a user that `path`, or something below it, cannot be read."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            remedy = (
                f"let the user {os.geteuid()} and its groups read it, by the pod's fsGroup or by"
                " the files' modes"
            )
        elif error.errno in _CHANGED:
            remedy = "it changed while it was read; write nothing to a folder that is served"
        else:
            remedy = "check the volume"
        reason = error.strerror or type(error).__name__
        raise ArtifactRefused(
            f"{path} cannot be read ({reason}): {remedy}, and start again."
        ) from (error)


def _raise(error: OSError) -> None:
    raise error


def _digest_of(files: dict[str, str]) -> str:
    lines = sorted((name.encode(), sha256) for name, sha256 in files.items())
    text = b"".join(sha256.encode() + b"  " + name + b"\n" for name, sha256 in lines)
    return hashlib.sha256(text).hexdigest()


def parse_manifest(content: bytes | None) -> Manifest:
    """Return what `content`, the bytes of `model.json`, says.

    Raises:
        ManifestRefused: it is missing, or says what cannot be served.

    """
    if content is None:
        raise ManifestRefused(
            f"The artifact has no {MANIFEST}, so its classes and preprocessing are unknown: export"
            " the model with `model-train export`; a bare state dict is refused."
        )
    if len(content) > MANIFEST_MAX_BYTES:
        raise ManifestRefused(f"{MANIFEST} is larger than 1 MiB: export the model again.")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the document"
        raise ManifestRefused(
            f"{MANIFEST} is refused at {place}: {first['msg']}; export the model again."
        ) from error
