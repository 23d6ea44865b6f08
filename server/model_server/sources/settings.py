"""What sources can be told, by environment: only the fetching container has these settings.

`sources.download` reads them once and hands them to the source. MLflow and S3 have variables of
their own, which their clients read. docs/server.md has the list for users.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from model_server.errors import SettingsError


class SourceSettings(BaseSettings):
    """Each field is set by the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    max_artifact_bytes: int = Field(default=4 * 1024**3, ge=1)
    """The most bytes that are written for one artifact: as they come, and again unpacked."""

    fetch_allow_http: bool = False
    """Whether http:// is fetched: anyone on the way can read the token and answer in its place."""

    fetch_allowed_hosts: str | None = None
    """The hosts that an https:// URI may name or be redirected to, separated by commas: names, or
    *.SUFFIX for every name below one. Empty: any."""

    fetch_bearer_token: SecretStr | None = None
    """Sent as `Authorization: Bearer` to the host of an https:// URI, and to no other."""

    fetch_connect_timeout_seconds: float = Field(default=10.0, gt=0, le=3600)
    """How long a connection may take."""

    fetch_read_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    """How long nothing may arrive."""

    fetch_retries: int = Field(default=3, ge=0, le=10)
    """How often a broken connection, a 429 or a 5xx is tried again before the process ends."""

    fetch_retry_delay_seconds: float = Field(default=1.0, ge=0, le=60)
    """The wait before the first of these; each further one waits twice as long."""

    pvc_root: Path = Path("/mnt/pvc")
    """Where persistent volume claims are mounted, each in a folder of its name."""


def load() -> SourceSettings:
    """Return the settings of the environment.

    Raises:
        SettingsError: a value is wrong; the sentence names it, its value and what it means.

    """
    try:
        return SourceSettings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = first["msg"][0].lower() + first["msg"][1:]
        raise SettingsError(
            f"The setting {str(first['loc'][0]).upper()} is {first['input']!r}, but {reason}:"
            " correct it and start again."
        ) from error
