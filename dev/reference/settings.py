"""Every setting of every process: the environment variables that the code reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from dev.reference.markdown import fields_of, table
from model_operator.settings import PREFIX
from model_operator.settings import Settings as OperatorSettings
from model_router.settings import Settings as RouterSettings
from model_server.settings import Settings as ServerSettings
from model_server.sources.settings import SourceSettings

INTRODUCTION = """\
# Settings

All by environment variables. The chart sets most of those of the operator from its
[values](../../charts/cv-factory/values.yaml); `CV_FACTORY_RESYNC_SECONDS`, `_FOLLOW_SECONDS` and
`_SWEEP_SECONDS` go into its `extraEnv`, and `_HEALTH_PORT` stays as it is. Those of a
server are `spec.server.env` of a ModelDeployment, but for those that the operator sets itself;
those of what fetches are keys of the Secret that `spec.model.credentialsSecretRef` names, but for
`FETCH_ALLOWED_HOSTS` and `PVC_ROOT`, which are the operator's own. What belongs
together, and why a default is what it is, stands in [operator](../operator.md#settings),
[server](../server.md), [router](../router.md) and [sources](../sources.md).
"""


def page() -> str:
    """The whole page."""
    pydantic: dict[str, tuple[str, type[BaseModel]]] = {
        "The operator": (PREFIX, OperatorSettings),
        "The model server": ("", ServerSettings),
        "The container that fetches": ("", SourceSettings),
    }
    sections = [
        (title, _of_model(prefix, settings)) for title, (prefix, settings) in pydantic.items()
    ]
    sections.append(("The router", _of_router()))
    titles = ["variable", "default", "meaning"]
    return INTRODUCTION + "".join(
        f"\n## {title}\n\n{table(titles, rows)}" for title, rows in sections
    )


def _of_model(prefix: str, settings: type[BaseModel]) -> Iterator[list[str]]:
    for name, words in fields_of(settings):
        known = settings.model_fields[name]
        default = "required" if known.is_required() else _shown(known.default)
        # The registry's address and credentials have the names that MLflow gave them.
        whole = f"MLFLOW_{name}" if name.startswith("tracking_") else f"{prefix}{name}"
        yield [f"`{whole.upper()}`", default, words]


def _of_router() -> Iterator[list[str]]:
    defaults = {field.name: field.default for field in dataclasses.fields(RouterSettings)}
    for name, words in fields_of(RouterSettings):
        yield [f"`ROUTER_{name.upper()}`", _shown(defaults[name]), words]


def _shown(value: Any) -> str:
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{','.join(value) if isinstance(value, tuple) else value}`"
