"""The checkpoint of a training run: its best weights so far, with what `export` needs to know.

`train --checkpoint` writes it at every better epoch, so that a run which was stopped can still be
exported. It is read with `weights_only=True`: nothing that a stranger put into it is run.
"""

from __future__ import annotations

import io
import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from model_training.artifact import build_model
from model_training.config import sentence
from model_training.errors import ArtifactError
from model_training.manifest import Description


def save_checkpoint(path: Path, state: Mapping[str, Tensor], description: Description) -> None:
    """Writes weights and description into one file that `export` turns into an artifact."""
    save_tensors(path, {"description": description.model_dump_json(), "state_dict": dict(state)})


def save_tensors(path: Path, content: Mapping[str, object]) -> None:
    """Replaces the file at once; it is on the disk when this returns.

    Raises OSError, and leaves the old file as it is, where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    torch.save(dict(content), packed)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(packed.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Description]:
    """Reads a checkpoint of `train` without running any code that it may carry."""
    if not path.is_file():
        raise ArtifactError(f"there is no checkpoint {path}")
    content = load_tensors(path)
    if not isinstance(content, dict) or set(content) != {"description", "state_dict"}:
        raise ArtifactError(
            f"{path} is no checkpoint of `model-train train`: a bare state dict says neither its"
            " classes nor its preprocessing, so no artifact can be made from it"
        )
    try:
        description = Description.model_validate_json(content["description"])
    except ValidationError as error:
        raise ArtifactError(f"{path} has a bad description: {sentence(error)}") from error
    state: dict[str, Tensor] = content["state_dict"]
    build_model(description, state, str(path))
    return state, description


# What torch raises for bytes that are no tensors of its own.
_UNREADABLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load_tensors(path: Path) -> Any:
    """What torch has saved in a file, if that is tensors and plain values; else ArtifactError."""
    try:
        with warnings.catch_warnings():  # of torch's, about how a file was made that it then reads
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArtifactError(
            f"{path} is refused: it is damaged or holds more than tensors ({reason});"
            " save its state dict with `model-train train --checkpoint`"
        ) from error
