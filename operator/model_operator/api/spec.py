"""spec: what is wanted."""

from __future__ import annotations

from pydantic import Field

from model_operator.api.base import ApiType, Seconds
from model_operator.api.model import ModelSource
from model_operator.api.server import ServerSpec
from model_operator.api.strategy import Analysis, Strategy
from model_operator.api.traffic import Traffic


class Autoscaling(ApiType):
    """How many pods serve, by their load."""

    min_replicas: int = Field(default=1, ge=1, le=1000, description="The fewest pods.")
    max_replicas: int = Field(ge=1, le=1000, description="The most pods.")
    target_cpu_utilization_percentage: int = Field(
        default=70,
        ge=1,
        le=1000,
        alias="targetCPUUtilizationPercentage",
        description="The pods' mean CPU use that is aimed at, in percent of what they request; so "
        "they must request some in spec.server.resources.",
    )


class ModelDeploymentSpec(ApiType):
    """What is wanted."""

    model: ModelSource = Field(description="Which model to serve.")
    server: ServerSpec = Field(
        default=ServerSpec(), description="How the server runs. All of it is optional."
    )
    replicas: int = Field(
        default=1, ge=0, le=1000, description="How many pods serve the stable revision."
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description="How many pods serve, by their load; then replicas is not enforced.",
    )
    min_ready_seconds: Seconds = Field(
        default=0, description="How long a pod must be ready before it counts as available."
    )
    strategy: Strategy = Field(default=Strategy(), description="How a new revision takes over.")
    analysis: Analysis | None = Field(
        default=None,
        description="What must hold for a new revision while it is introduced; otherwise the "
        "rollout is aborted.",
    )
    traffic: Traffic = Field(default=Traffic(), description="How clients reach the model.")
    progress_deadline_seconds: int = Field(
        default=600,
        ge=1,
        le=86_400,
        description="How long a new revision may take to become ready before it has failed. More "
        "than minReadySeconds.",
    )
    revision_history_limit: int = Field(
        default=3, ge=0, le=100, description="How many retired revisions are kept."
    )
    paused: bool = Field(
        default=False,
        description="Freezes a rollout in the step that it is in, and begins no new one. Aborting "
        "and repairing go on, and so does serving.",
    )
