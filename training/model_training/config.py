"""The configuration of one training run: frozen, and complete and valid once it exists.

Made by the command line from its flags; read by everything that a run does, and logged with it.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_training.errors import ConfigError

MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


def sentence(error: ValidationError) -> str:
    """Pydantic's findings as one line: `epochs: Input should be ... (given 0); ...`."""
    findings = []
    for finding in error.errors(include_url=False):
        where = ".".join(str(part) for part in finding["loc"])
        text = finding["msg"].removeprefix("Value error, ")
        findings.append(f"{where}: {text} (given {finding['input']!r})" if where else text)
    return "; ".join(findings)


class TrainConfig(BaseModel):
    """Every value that decides the bytes of the trained model, the data aside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=MODEL_NAME)] = "image-classifier"
    """The model's name in model.json; letters, digits, dots, dashes and underscores."""
    size: Annotated[int, Field(ge=8, le=1024)] = 64
    """Height and width of the network's input, in pixels."""
    channels: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (3, 16, 32, 64)
    """The colours of the input, then the width of each block of SimpleCNN."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 10
    batch_size: Annotated[int, Field(ge=2, le=4096)] = 16
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    """The peak of the one-cycle schedule."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        default_factory=lambda: len(os.sched_getaffinity(0))
    )
    """Processor threads: sums are split among them, so another number gives other bytes."""
    validation_percent: Annotated[int, Field(ge=1, le=50)] = 10
    """Share of the images that chooses the best epoch."""
    test_percent: Annotated[int, Field(ge=1, le=50)] = 10
    """Share of the images that is only ever used for the figures at the end."""

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Makes one from untrusted values; raises ConfigError with a sentence."""
        try:
            return cls(**values)
        except ValidationError as error:
            message = f"this training run cannot work: {sentence(error)}"
            raise ConfigError(message) from error

    @model_validator(mode="after")
    def _channels_fit_the_input(self) -> Self:
        if len(self.channels) < 2 or self.channels[0] != 3:
            message = (
                "channels starts with 3 (red, green, blue) and goes on with the width of each"
                f" block, for example 3,16,32,64, not {','.join(map(str, self.channels))}"
            )
            raise ValueError(message)
        if self.size < 2 ** (len(self.channels) - 1):
            message = (
                f"{len(self.channels) - 1} blocks halve a picture of {self.size} pixels to"
                " nothing: use fewer channels or a larger size"
            )
            raise ValueError(message)
        return self
