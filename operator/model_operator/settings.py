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

from model_operator import allowed
from model_operator.errors import SettingsError

PREFIX = "CV_FACTORY_"
_NAMESPACE = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_NAME = re.compile(r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$")
SHORTEST_LEASE_SECONDS = 3
"""Its holder must stop writing when two thirds are over: less would not outlast a busy moment."""


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

    allowed_schemes: tuple[str, ...] = allowed.USUAL_SCHEMES
    """The kinds of sources that models may come from, of models, runs, pvc, https and s3."""

    allowed_hosts: tuple[str, ...] = ()
    """The hosts that https:// sources and other registries than the operator's own may be at:
    exact names, or *.SUFFIX for every name below one."""
    track_rollouts: bool = True
    """Whether rollouts are recorded in the MLflow server, where there is one."""

    cluster_name: str = Field(default="default", pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")
    """The name of this cluster in what is recorded: several may share one MLflow server."""

    rollouts_experiment: str = Field(default="cv-factory rollouts", min_length=1, max_length=500)
    """The MLflow experiment that has a run for each rollout."""

    prometheus_url: str | None = None
    """The Prometheus server that answers the queries of analyses; none without it."""

    pod_access: Literal["auto", "direct", "proxy"] = "auto"
    """How pods are read: by their addresses, or through the API server's proxy; auto is by address
    where the operator runs inside the cluster."""

    cluster_domain: str = "svc"
    """What follows the namespace in the URLs that status shows, for example svc.cluster.local."""

    workers: int = Field(default=8, ge=1, le=256)
    """How many resources are reconciled at once."""

    max_rollouts: int = Field(default=20, ge=0)
    """How many rollouts may start or stop pods at once, over all resources in which something
    serves already; 0: as many as there are."""

    resync_seconds: float = Field(default=300, ge=10)
    """Every resource is looked at again after this time, whatever was or was not heard of it; later
    where that would be more than one a second."""

    follow_seconds: float = Field(default=30, ge=1)
    """How often each alias that is followed (updatePolicy FollowAlias) is asked for."""

    sweep_seconds: float = Field(default=20, ge=1)
    """How often what the watches have told is compared with the cluster; less often where that
    would take more than 0.5% of a core."""

    namespaces: tuple[str, ...] = ()
    """The namespaces that are served; empty: all of them."""

    lease_seconds: int = Field(default=15, ge=0, le=3600)
    """For so long a leader that is not heard of keeps its Lease; 0: there is no Lease, and this
    process is the only one."""

    lease_namespace: str = Field(default="default", pattern=_NAMESPACE.pattern)
    """The namespace of the Lease."""

    lease_name: str = Field(default="cv-factory-operator", pattern=_NAME.pattern)
    """The Lease by which the operators that serve the same namespaces agree who leads."""

    pod_name: str | None = Field(default=None, pattern=_NAME.pattern)
    """The pod that this process runs in, which takes its own Lease back when it is started anew;
    without it the process goes by the machine's name."""

    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """The least severe log line that is written."""

    health_port: int = Field(default=8080, ge=0, le=65535)
    """Port of /healthz, /readyz and /metrics; 0 switches it off."""

    @property
    def tracks_rollouts(self) -> bool:
        """Whether rollouts are recorded."""
        return self.track_rollouts and self.tracking_uri is not None

    @field_validator("log_level", mode="before")
    @classmethod
    def _is_written_in_either_case(cls, value: object) -> object:
        """The model server's LOG_LEVEL is in capitals; nobody should have to remember which."""
        return value.lower() if isinstance(value, str) else value

    @field_validator("lease_seconds")
    @classmethod
    def _is_none_or_long_enough(cls, value: int) -> int:
        if 0 < value < SHORTEST_LEASE_SECONDS:
            raise ValueError(f"must be at least {SHORTEST_LEASE_SECONDS}, or 0 for no Lease")
        return value

    @field_validator("namespaces", mode="before")
    @classmethod
    def _is_separated_by_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = _separated(value)
        for name in names:
            if not _NAMESPACE.match(name):
                raise ValueError(f"{name!r} is not the name of a namespace")
        return tuple(sorted(set(names)))

    @field_validator("allowed_schemes", mode="before")
    @classmethod
    def _are_schemes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = _separated(value.lower())
        for name in names:
            if name not in allowed.SCHEMES:
                raise ValueError(f"{name!r} is none of {', '.join(allowed.SCHEMES)}")
        return tuple(name for name in allowed.SCHEMES if name in names)

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _are_hosts(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(sorted({allowed.host_pattern(name) for name in _separated(value)}))

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


def _separated(value: str) -> list[str]:
    """What stands between commas."""
    return [name.strip() for name in value.split(",") if name.strip()]
