"""Where the values of a run come from: a file, flags and the environment, in that order.

What the file says wins over a flag, a flag over the environment, and what nobody has set comes from
the recipe (`recipes`). Which recipe that is follows from the images where nobody names one. The
file is what is reviewed and kept with the data, so a run is what it says; to vary a value from run
to run, leave it out of the file. Called by the command `train`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from model_training.config import TrainConfig
from model_training.errors import ConfigError
from model_training.recipes import USUAL

PREFIX: Final = "MODEL_TRAIN_"
"""Of the environment's names: MODEL_TRAIN_EPOCHS sets `epochs`."""
SECTION: Final = "train"
"""The part of the file that is read, so that it may be the params.yaml of a pipeline."""


@dataclass(frozen=True)
class Settings:
    """A valid configuration, and what was said twice."""

    config: TrainConfig
    overruled: tuple[str, ...]
    """A sentence for each value that another one won over."""


def gather(
    file: Path | None,
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    usual_recipe: Callable[[], str] = lambda: USUAL,
) -> Settings:
    """The configuration of a run; ConfigError says which value cannot work.

    `flags` holds the fields of TrainConfig that were given; None is not given. `usual_recipe` is
    asked where nobody names one.
    """
    sources: list[tuple[str, Mapping[str, object]]] = [
        (str(file), _read(file) if file else {}),
        ("the flags", {name: value for name, value in flags.items() if value is not None}),
        ("the environment", _environment(environment)),
    ]
    values: dict[str, Any] = {}
    said_by: dict[str, str] = {}
    overruled: list[str] = []
    for source, given in sources:
        for name, value in given.items():
            if name not in values:
                values[name], said_by[name] = value, source
            elif not _same(name, value, values[name]):
                overruled.append(
                    f"{name} is {_text(values[name])} by {said_by[name]},"
                    f" not {_text(value)} by {source}"
                )
    if "recipe" not in values:
        values["recipe"] = usual_recipe()
    return Settings(TrainConfig.of(**values), tuple(overruled))


def _read(file: Path) -> Mapping[str, object]:
    """The file's section; a file without one is that section."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file} is neither YAML nor JSON: {reason}") from error
    section = content.get(SECTION, content) if isinstance(content, dict) else content
    if not isinstance(section, dict) or not all(isinstance(name, str) for name in section):
        raise ConfigError(f"{file} must map settings to values, for example `epochs: 20`")
    return section


def _environment(environment: Mapping[str, str]) -> Mapping[str, object]:
    """What it says of the fields; a name of ours that is no field is refused by TrainConfig."""
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and value
    }


def _same(name: str, one: object, other: object) -> bool:
    """Whether two sources mean the same, though one of them may be text."""
    if name not in TrainConfig.model_fields:
        return False
    return _text(one) == _text(other)


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
