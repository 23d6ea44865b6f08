"""The artifact: a folder with `model.safetensors` and `model.json`, and the digest of a folder.

Training and `export` write it, `evaluate` and `register` read it, the server loads it. Neither run
ids nor times are in it, so the same training gives the same digest.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
from pydantic import ValidationError
from torch import Tensor

from model_training.config import sentence
from model_training.errors import ArtifactError
from model_training.manifest import (
    MANIFEST_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    Description,
    Manifest,
    Weights,
)
from model_training.model import SimpleCNN
from model_training.onnx_export import to_onnx

READ_SIZE: Final = 1024 * 1024  # bytes


@dataclass(frozen=True)
class Artifact:
    """An artifact that was read and checked; the model is in evaluation mode."""

    folder: Path
    manifest: Manifest
    model: SimpleCNN
    sha256: str


def digest_of(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 (hex) over `<sha256>  <path>` lines, ordered by the bytes of the path.

    `files` are pairs of POSIX path and SHA-256 of the content. In a shell, inside the folder:
    `find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`.
    """
    ordered = sorted(files, key=lambda file: file[0].encode())
    return hashlib.sha256("".join(f"{sha}  {path}\n" for path, sha in ordered).encode()).hexdigest()


def digest(folder: Path) -> str:
    """The digest of an artifact: over every regular file in the folder, at any depth."""
    return digest_of(
        (path.relative_to(folder).as_posix(), file_sha256(path))
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes (hex)."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_SIZE):
            sha256.update(chunk)
    return sha256.hexdigest()


def write_artifact(
    out: Path,
    state: Mapping[str, Tensor],
    description: Description,
    *,
    with_onnx: bool = False,
) -> str:
    """Writes the artifact to `out` and returns its digest; `with_onnx` adds model.onnx.

    An artifact that is there already is replaced whole; any other folder with files is refused
    with ArtifactError. The folder appears complete or not at all.
    """
    refuse_foreign_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        fresh = Path(temporary) / "artifact"
        fresh.mkdir()
        weights = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        (fresh / WEIGHTS_FILE).write_bytes(safetensors.torch.save(weights))
        manifest = Manifest(
            **description.model_dump(),
            weights=Weights(sha256=file_sha256(fresh / WEIGHTS_FILE)),
        )
        text = json.dumps(
            manifest.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False
        )
        (fresh / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
        if with_onnx:
            network = build_model(description, weights, "the model")
            (fresh / ONNX_FILE).write_bytes(to_onnx(network, manifest).content)
        _exchange(fresh, out, Path(temporary) / "replaced")
    return digest(out)


def _exchange(fresh: Path, out: Path, aside: Path) -> None:
    """Renames `fresh` to `out`; what is there goes `aside`, and comes back where that fails."""
    replaces = out.exists()
    try:
        if replaces:
            out.rename(aside)
        fresh.rename(out)
    except BaseException:
        if aside.exists() and not out.exists():
            aside.rename(out)
        raise


def refuse_foreign_folder(out: Path) -> None:
    """Raises ArtifactError when `out` cannot become an artifact, or holds anything else."""
    if out.is_mount():
        raise ArtifactError(
            f"{out} is a volume of its own, which cannot be replaced as a whole: name a folder in"
            f" it, such as {out / 'artifact'}"
        )
    if not out.exists():
        _refuse_without_rights(out)
        return
    if not out.is_dir():
        raise ArtifactError(f"{out} is a file; name a folder for the artifact")
    foreign = {path.name for path in out.iterdir()} - {MANIFEST_FILE, ONNX_FILE, WEIGHTS_FILE}
    if foreign:
        raise ArtifactError(
            f"{out} holds other files ({min(foreign)}) and would be replaced by the artifact;"
            " name a new folder"
        )
    _refuse_without_rights(out)


def _refuse_without_rights(out: Path) -> None:
    """Asks by making a folder beside it, as writing will: rights alone do not tell."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-").cleanup()
    except OSError as error:
        raise ArtifactError(
            f"{out} cannot be written ({error.strerror}): name a folder where you may"
        ) from error


def read_artifact(folder: Path) -> Artifact:
    """Reads an artifact and proves it: manifest, digest of the weights, names and shapes."""
    manifest = _manifest(folder)
    path = folder / manifest.weights.file
    for part in (folder / MANIFEST_FILE, path):
        if part.is_symlink():  # which the digest leaves out, and no server follows
            raise ArtifactError(
                f"{part} is a link: an artifact is whole by itself, so copy the file there (for"
                " DVC: `dvc config cache.type copy`, then `dvc checkout --relink`)"
            )
    if not path.is_file():
        raise ArtifactError(
            f"{folder} names {manifest.weights.file} in {MANIFEST_FILE} and lacks it"
        )
    actual = file_sha256(path)
    if actual != manifest.weights.sha256:
        raise ArtifactError(
            f"{path} has SHA-256 {actual} and {MANIFEST_FILE} says {manifest.weights.sha256}:"
            " the file was changed or damaged; export the model again"
        )
    try:
        state = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ArtifactError(f"{path} is not a safetensors file ({error})") from error
    return Artifact(folder, manifest, build_model(manifest, state, str(path)), digest(folder))


def build_model(description: Description, state: Mapping[str, Tensor], origin: str) -> SimpleCNN:
    """The described network with these weights, in evaluation mode; ArtifactError on a misfit."""
    architecture = description.architecture
    model = SimpleCNN(architecture.channels, description.classes, architecture.depth)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ArtifactError(f"{origin} does not fit its description: {error}") from error
    return model.eval()


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ArtifactError(
            f"{folder} is no artifact: it has no {MANIFEST_FILE}; make one with `model-train train`"
        )
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ArtifactError(f"{path} is not a valid {MANIFEST_FILE}: {sentence(error)}") from error
