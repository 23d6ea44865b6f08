"""What model.json says, as types: the description of a model and of its input.

Shared by the data loader (the input), the artifact and the checkpoint. The names and the file are
a contract with the server, which has types of its own for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from model_training.config import MODEL_NAME

MANIFEST_FILE: Final = "model.json"
WEIGHTS_FILE: Final = "model.safetensors"
ONNX_FILE: Final = "model.onnx"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(_Part):
    """What to build before the weights are loaded."""

    name: Literal["SimpleCNN"] = "SimpleCNN"
    channels: Annotated[tuple[int, ...], Field(min_length=2)]
    depth: Annotated[int, Field(ge=0)] = 0
    """Residual units in each block."""

    @model_serializer(mode="wrap")
    def _without_depth_where_there_is_none(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """A server that knows no depth still takes what has none."""
        written: dict[str, Any] = handler(self)
        if not self.depth:
            del written["depth"]
        return written


class InputSpec(_Part):
    """How a picture becomes the network's input; mean and std per colour, of values in 0..1."""

    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class Description(_Part):
    """model.json without its weights: what is known of a model before it is written."""

    format_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=MODEL_NAME)]
    architecture: Architecture
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    input: InputSpec
    metrics: dict[str, float | int] = {}


class Weights(_Part):
    """The file with the weights, and the SHA-256 (hex) that its bytes must have."""

    file: Literal["model.safetensors"] = WEIGHTS_FILE
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Description):
    """model.json."""

    weights: Weights
