r"""The artifact on disk: its files, its digest, and what its `model.json` says.

Nothing here needs torch, so that `fetch` can verify what it downloaded and stay small; the
weights' content is judged by `weights` when the server loads them.

The digest is the SHA-256 of one line per regular file, `<sha256><two spaces><path>\n`, sorted by
the path's bytes, which a shell can repeat:
`cd artifact && find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_server.errors import ArtifactRefused, DigestMismatch, ManifestRefused, WeightsRefused

MANIFEST = "model.json"
MANIFEST_MAX_BYTES = 1024 * 1024

_Positive = Annotated[int, Field(ge=1, le=65536)]
# Numbers that float32 can be normalised with.
_Mean = Annotated[float, Field(ge=-1e6, le=1e6)]
_Deviation = Annotated[float, Field(ge=1e-6, le=1e6)]
_Label = Annotated[str, Field(pattern=r"\S")]
_Labels = Annotated[tuple[_Label, ...], Field(min_length=2)]


class _Part(BaseModel):
    """What all of model.json's objects have in common: exact types, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Architecture(_Part):
    """Which network the weights belong to, and its parameters."""

    name: Literal["SimpleCNN"]
    channels: Annotated[tuple[_Positive, ...], Field(min_length=2, max_length=16)]

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

    @property
    def weights(self) -> Path:
        """The verified weights file."""
        return self.folder / self.manifest.weights.file


def digest(folder: Path) -> str:
    """Return the artifact's digest, 64 hex digits.

    Raises:
        ArtifactRefused: the folder is missing, empty, or holds what has no place in an artifact.

    """
    return _digest_of(_file_digests(folder))


def verify(folder: Path, expected_digest: str | None = None) -> Artifact:
    """Read every byte in `folder` once and return the artifact if all of it is as it must be.

    Raises:
        DigestMismatch: the bytes are not those of `expected_digest`.
        ManifestRefused: `model.json` is missing, or says what cannot be served.
        WeightsRefused: the weights file is missing, or is not the one `model.json` describes.
        ArtifactRefused: the folder is missing, empty, or holds what has no place in an artifact.

    """
    files = _file_digests(folder)
    found = _digest_of(files)
    if expected_digest is not None and found != expected_digest:
        raise DigestMismatch(
            f"The artifact's digest is {found}, but {expected_digest} was asked for: the bytes are"
            " not those that were registered; register the model again, or correct the digest."
        )
    manifest = read_manifest(folder)
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


def _file_digests(folder: Path) -> dict[str, str]:
    """Map each file's POSIX path, relative to `folder`, to its SHA-256."""
    if not folder.is_dir():
        raise ArtifactRefused(
            f"There is no artifact folder at {folder}: mount one there, or name it by MODEL_PATH"
            " or --artifact."
        )
    digests: dict[str, str] = {}
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            raise ArtifactRefused(
                f"The artifact holds {name!r}, which is not a regular file: an artifact is plain"
                " files only; export the model again."
            )
        if not name.isprintable() or "\\" in name:
            raise ArtifactRefused(
                f"The artifact holds a file named {name!r}, whose name a digest cannot carry:"
                " rename it and register the model again."
            )
        with path.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    if not digests:
        raise ArtifactRefused(f"The artifact folder {folder} is empty: export the model into it.")
    return digests


def _digest_of(files: dict[str, str]) -> str:
    lines = sorted((name.encode(), sha256) for name, sha256 in files.items())
    text = b"".join(sha256.encode() + b"  " + name + b"\n" for name, sha256 in lines)
    return hashlib.sha256(text).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Return what `model.json` in `folder` says.

    Raises:
        ManifestRefused: it is missing, or says what cannot be served.

    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ManifestRefused(
            f"The artifact has no {MANIFEST}, so its classes and preprocessing are unknown: export"
            " the model with `model-train export`; a bare state dict is refused."
        )
    if path.stat().st_size > MANIFEST_MAX_BYTES:
        raise ManifestRefused(f"{MANIFEST} is larger than 1 MiB: export the model again.")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the document"
        raise ManifestRefused(
            f"{MANIFEST} is refused at {place}: {first['msg']}; export the model again."
        ) from error
