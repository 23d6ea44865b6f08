"""The settings of the operator's process: one object, from the environment, read once by `main`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from model_operator.errors import SettingsError

PREFIX = "CV_FACTORY_"
_NAMESPACE = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


class Settings(BaseModel):
    """Each field is an environment variable: `CV_FACTORY_` and the field's name in capitals.

    The registry's address and credentials go by MLflow's own names (MLFLOW_TRACKING_URI,
    MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    server_image: str = Field(min_length=1)
    """Image of the model server for revisions whose spec names none."""

    router_image: str | None = None
    """Image of the router (spec.traffic.provider Router) for routers whose spec names none."""

    tracking_uri: str | None = None
    """The MLflow server, for the operator and for the containers that fetch models."""

    tracking_username: str | None = None
    """User name for the MLflow server; the operator's own, never handed to a pod."""

    tracking_password: str | None = Field(default=None, repr=False)
    """Password for the MLflow server."""

    tracking_token: str | None = Field(default=None, repr=False)
    """Bearer token for the MLflow server, instead of name and password."""

    prometheus_url: str | None = None
    """The Prometheus server that answers the queries of analyses; none without it."""

    pod_access: Literal["auto", "direct", "proxy"] = "auto"
    """How pods are read: by their addresses, or through the API server's proxy; auto is by address
    where the operator runs inside the cluster."""

    cluster_domain: str = "svc"
    """What follows the namespace in the URLs that status shows, for example svc.cluster.local."""

    workers: int = Field(default=8, ge=1, le=256)
    """How many resources are reconciled at once."""

    resync_seconds: float = Field(default=300, ge=10)
    """Every resource is looked at again after this time, whatever was or was not heard of it."""

    sweep_seconds: float = Field(default=20, ge=1)
    """How often what the watches have told is compared with the cluster; less often where that
    would take more than a twentieth of a core."""

    namespaces: tuple[str, ...] = ()
    """The namespaces that are served; empty: all of them."""

    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """The least severe log line that is written."""

    health_port: int = Field(default=8080, ge=0, le=65535)
    """Port of /healthz, /readyz and /metrics; 0 switches it off."""

    @field_validator("log_level", mode="before")
    @classmethod
    def _is_written_in_either_case(cls, value: object) -> object:
        """The model server's LOG_LEVEL is in capitals; nobody should have to remember which."""
        return value.lower() if isinstance(value, str) else value

    @field_validator("namespaces", mode="before")
    @classmethod
    def _is_separated_by_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = [name.strip() for name in value.split(",") if name.strip()]
        for name in names:
            if not _NAMESPACE.match(name):
                raise ValueError(f"{name!r} is not the name of a namespace")
        return tuple(sorted(set(names)))

    @field_validator("tracking_uri", "prometheus_url")
    @classmethod
    def _is_an_address_and_nothing_more(
        cls, value: str | None, field: ValidationInfo
    ) -> str | None:
        """Status, logs and the pods' environment show addresses, so they may hold no password."""
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.username or parts.password:
            instead = (
                ": they go into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
                if field.field_name == "tracking_uri"
                else ""
            )
            raise ValueError(f"must hold no user name or password{instead}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address that begins with http:// or https://")
        return value

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Reads the settings.

        Raises:
            SettingsError: a variable is missing or wrong; the message names it.
        """
        known = cls.model_fields.keys()
        values: dict[str, object] = {
            key.removeprefix(PREFIX).lower(): value
            for key, value in environment.items()
            # Kubernetes sets variables of its own for Services named cv-factory-...
            if key.startswith(PREFIX) and value and key.removeprefix(PREFIX).lower() in known
        }
        for field in ("uri", "username", "password", "token"):
            if value := environment.get(f"MLFLOW_TRACKING_{field.upper()}"):
                values[f"tracking_{field}"] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first["loc"][0])
            prefix = "MLFLOW_" if field.startswith("tracking_") else PREFIX
            words = first["msg"].removeprefix("Value error, ")
            raise SettingsError(f"{prefix}{field.upper()}: {words}") from error
