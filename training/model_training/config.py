"""The configuration of one training run: frozen, and complete and valid once it exists.

Made by the command line through `settings`; read by everything that a run does, and logged with it.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from model_training.errors import ConfigError
from model_training.recipes import RECIPES, USUAL

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

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=MODEL_NAME)] = "image-classifier"
    """The model's name in model.json; letters, digits, dots, dashes and underscores."""
    recipe: str = USUAL
    """Where the values come from that nobody has set; one of RECIPES."""
    size: Annotated[int, Field(ge=8, le=1024)] = 64
    """Height and width of the network's input, in pixels."""
    channels: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (3, 16, 32, 64)
    """The colours of the input, then the width of each block of SimpleCNN."""
    depth: Annotated[int, Field(ge=0, le=16)] = 0
    """Residual units in each block."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 10
    patience: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Ends the run after so many epochs without a better one; 0: never."""
    batch_size: Annotated[int, Field(ge=2, le=4096)] = 16
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd has Nesterov's momentum, 0.9."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.01
    """The peak of the one-cycle schedule."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all classes."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The weights that are kept are a running average of the trained ones; 0: the trained ones."""
    flip: bool = True
    """Mirrors every second picture."""
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.125
    """Moves each picture by up to this share of its side."""
    cutout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Blanks a square of this share of the side at a random place."""
    color_jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Changes contrast, brightness and colour balance of each picture: 0.2 is contrast times 0.74
    to 1.35, and brightness up or down by up to a quarter of half the range of values."""
    cutmix: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the batches in which a rectangle of each picture is another one's, and as much of
    its target."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16 is mixed precision, the weights stay float32; auto: on a GPU, and on a processor
    that computes with bfloat16 by itself."""
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        default_factory=lambda: len(os.sched_getaffinity(0))
    )
    """Processor threads: sums are split among them, so another number gives other bytes."""
    validation_percent: Annotated[int, Field(ge=1, le=50)] = 10
    """Share of the images that chooses the best epoch and calibrates."""
    test_percent: Annotated[int, Field(ge=1, le=50)] = 10
    """Share of the images that is only ever used for the figures at the end."""

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Makes one from untrusted values, the rest by the recipe that they name.

        Raises ConfigError with a sentence.
        """
        recipe = values.get("recipe", cls.model_fields["recipe"].default)
        if recipe not in RECIPES:
            raise ConfigError(f"there is no recipe {recipe!r}; there are {', '.join(RECIPES)}")
        try:
            return cls(**{**RECIPES[recipe], **values})
        except ValidationError as error:
            message = f"this training run cannot work: {sentence(error)}"
            raise ConfigError(message) from error

    @field_validator("channels", mode="before")
    @classmethod
    def _split_text(cls, value: object) -> object:
        """`3,16,32,64` as flags and the environment say it."""
        return value.split(",") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _channels_fit_the_input(self) -> Self:
        if len(self.channels) < 2 or self.channels[0] != 3:
            message = (
                "channels starts with 3 (red, green, blue) and goes on with the width of each"
                f" block, for example 3,16,32,64, not {','.join(map(str, self.channels))}"
            )
            raise ValueError(message)
        blocks = len(self.channels) - 1
        if self.size < 2**blocks:
            message = (
                f"{blocks} blocks halve a picture of {self.size} pixels to nothing: use fewer"
                " channels or a larger size"
            )
            raise ValueError(message)
        if self.depth and self.size < 2 ** (blocks + 1):
            # Of a batch of one picture, batch norm would have one value for each channel.
            message = (
                f"{blocks} blocks leave one pixel of a picture of {self.size} pixels, too few for"
                " residual units: use fewer channels, a larger size or depth 0"
            )
            raise ValueError(message)
        return self
