"""The types of the ModelDeployment resource: the one source of its schema, defaults and docs.

`crd` turns them into the CustomResourceDefinition, `observe` validates live resources with
them, and `kubectl explain modeldeployment` prints the descriptions that stand here.

No field below `spec.server` has a default: the API server would write it into every resource,
and a revision's id is taken over `spec.server` as written, so a default that a later release
adds would start every model anew. What is left out there is filled in when a revision's pod
template is rendered, and frozen with it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic.alias_generators import to_camel

GROUP = "cvfactory.dev"
VERSION = "v1alpha1"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"
API_VERSION = f"{GROUP}/{VERSION}"

# Leaves room for "-" and a revision's ten digits within the 63 characters of a DNS label.
NAME_MAX_LENGTH = 50
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
MODEL_URI_PATTERN = r"^models:/[^/@]+(/[0-9]+|@[A-Za-z0-9_.-]+)$"

RESERVED_ENVIRONMENT = frozenset(
    {
        *("MODEL_PATH", "MODEL_SHA256", "MODEL_NAME", "MODEL_VERSION", "REVISION", "PORT"),
        *("DRAIN_SECONDS", "REQUEST_TIMEOUT_SECONDS"),
    }
)
"""Variables of the server that the operator sets itself."""

Seconds = Annotated[int, Field(ge=0, le=86_400)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# A fragment of a pod, handed to Kubernetes as it is and validated there.
PodFragment = dict[str, Any]


class ApiType(BaseModel):
    """Base of all types: camelCase on the wire, immutable, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


class SecretReference(ApiType):
    """Names a Secret in the resource's own namespace."""

    name: str = Field(min_length=1, max_length=253, description="The Secret's name.")


class ModelSource(ApiType):
    """Which model to serve, and how it is fetched."""

    uri: str = Field(
        pattern=MODEL_URI_PATTERN,
        max_length=1024,
        description="A version in the MLflow model registry: models:/NAME/VERSION, or "
        "models:/NAME@ALIAS, which is resolved to a version once, when spec.model changes.",
    )
    sha256: Sha256 | None = Field(
        default=None,
        description="Pins the artifact's digest: any other bytes are refused. Default: the tag "
        "sha256 of the registered version.",
    )
    credentials_secret_ref: SecretReference | None = Field(
        default=None,
        description="A Secret whose keys become environment variables of the container that "
        "fetches the model, and of no other, for example MLFLOW_TRACKING_TOKEN.",
    )


class ServerSpec(ApiType):
    """How the model server runs. A change of anything here is a new revision."""

    image: str | None = Field(
        default=None,
        min_length=1,
        description="The server's image. Default: the operator's setting when the revision is "
        "made; an upgrade of the operator leaves existing revisions on theirs.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the image is pulled. Default: Kubernetes' own rule."
    )
    image_pull_secrets: list[SecretReference] | None = Field(
        default=None, description="Secrets for pulling the image."
    )
    service_account_name: str | None = Field(
        default=None, description="The pods' service account. No token is mounted."
    )
    env: list[PodFragment] | None = Field(
        default=None, description="Environment variables of the server container (EnvVar)."
    )
    env_from: list[PodFragment] | None = Field(
        default=None,
        description="ConfigMaps and Secrets of the same namespace whose keys become environment "
        "variables of the server container (EnvFromSource).",
    )
    resources: PodFragment | None = Field(
        default=None, description="Requests and limits of the server container."
    )
    node_selector: dict[str, str] | None = Field(
        default=None, description="Labels of the nodes that may run the pods."
    )
    tolerations: list[PodFragment] | None = Field(
        default=None, description="Tolerations of the pods."
    )
    affinity: PodFragment | None = Field(default=None, description="Affinity of the pods.")
    topology_spread_constraints: list[PodFragment] | None = Field(
        default=None,
        description="How the pods are spread over zones and nodes (TopologySpreadConstraint).",
    )
    priority_class_name: str | None = Field(
        default=None, description="The pods' PriorityClass, which must exist."
    )
    runtime_class_name: str | None = Field(
        default=None, description="The pods' RuntimeClass, which must exist, for example nvidia."
    )
    volumes: list[PodFragment] | None = Field(
        default=None,
        description="More volumes of the pods (Volume). The names models and tmp are taken.",
    )
    volume_mounts: list[PodFragment] | None = Field(
        default=None,
        description="Where those volumes are mounted in the server container (VolumeMount). "
        "Nothing may be mounted at or below /models or /tmp.",
    )
    pod_labels: dict[str, str] | None = Field(default=None, description="More labels for the pods.")
    pod_annotations: dict[str, str] | None = Field(
        default=None, description="More annotations for the pods."
    )
    drain_seconds: Annotated[int, Field(ge=0, le=600)] | None = Field(
        default=None,
        description="How long a pod goes on answering after it was told to stop, so that clients "
        "and nodes can notice. Default: 15. 0 loses requests.",
    )

    @field_validator("env")
    @classmethod
    def _is_not_reserved(cls, env: list[PodFragment] | None) -> list[PodFragment] | None:
        for item in env or ():
            if item.get("name") in RESERVED_ENVIRONMENT:
                raise ValueError(f"{item['name']} is set by the operator: leave it out")
        return env


class Strategy(ApiType):
    """How a new revision takes over."""

    type: Literal["Standard", "Recreate"] = Field(
        default="Standard",
        description="Standard: start the new revision beside the old one, wait until every "
        "replica is ready, switch all traffic in one write, keep the old one for a while. "
        "Recreate: stop the old revision before the new one starts, for clusters that cannot "
        "hold both at once (GPUs); nothing serves in between.",
    )
    scale_down_delay_seconds: int = Field(
        default=30,
        ge=20,
        le=86_400,
        description="How long the old revision stays at full size after the switch. At least 20: "
        "kept-alive connections reach it for up to 15.",
    )


class ServiceSettings(ApiType):
    """Settings of the endpoint's Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="The Service's type."
    )
    annotations: dict[str, str] | None = Field(
        default=None, description="Annotations of the Service, for example for a load balancer."
    )


class Traffic(ApiType):
    """How clients reach the model."""

    service: ServiceSettings = Field(
        default=ServiceSettings(),
        description="The Service named like the resource, ports 80 and 8000.",
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
    min_ready_seconds: Seconds = Field(
        default=0, description="How long a pod must be ready before it counts as available."
    )
    strategy: Strategy = Field(default=Strategy(), description="How a new revision takes over.")
    traffic: Traffic = Field(default=Traffic(), description="How clients reach the model.")
    progress_deadline_seconds: int = Field(
        default=600,
        ge=1,
        le=86_400,
        description="How long a new revision may take to become ready before it has failed.",
    )
    revision_history_limit: int = Field(
        default=3, ge=0, le=100, description="How many retired revisions are kept."
    )
    paused: bool = Field(
        default=False,
        description="Freezes a rollout in the step that it is in, and begins no new one. Aborting "
        "and repairing go on, and so does serving.",
    )


class RevisionStatus(ApiType):
    """One revision, as observed."""

    revision: str = Field(description="Its id: ten hexadecimal digits.")
    version: str | None = Field(default=None, description="The registered version's number.")
    resolved_uri: str | None = Field(default=None, description="Where its bytes come from.")
    sha256: str | None = Field(default=None, description="The digest that every pod verifies.")
    ready_replicas: int = Field(default=0, description="How many of its pods are ready.")


class WeightStatus(ApiType):
    """The share of requests that goes to one revision."""

    revision: str = Field(description="The revision's id.")
    weight: int = Field(ge=0, le=100, description="Percent that was asked for.")
    actual_weight: int | None = Field(
        default=None, ge=0, le=100, description="Percent that the data plane has confirmed."
    )


class ModelStatus(ApiType):
    """What spec.model was resolved to, and from what."""

    requested: ModelSource = Field(description="spec.model as it was when it was resolved.")
    resolved_uri: str = Field(description="The version that it named then.")
    version: str = Field(description="That version's number.")
    sha256: str = Field(description="The digest of its bytes.")


class FailureStatus(ApiType):
    """Why a revision did not start, in the container's own words."""

    revision: str = Field(description="The revision that failed.")
    reason: str = Field(description="One word, from the documented list.")
    message: str = Field(description="One sentence.")


class HeldPause(ApiType):
    """What the last action pause or resume asked for; it holds until the next generation."""

    paused: bool = Field(description="True after pause, False after resume.")
    generation: int = Field(description="The generation that it holds for.")


class ActionStatus(ApiType):
    """What became of the last action (the annotation cvfactory.dev/action)."""

    verb: str = Field(description="promote, abort, retry, resolve, rollback, pause or resume.")
    generation: int = Field(description="The generation that it acted on.")
    accepted: bool = Field(description="Whether it did anything.")
    message: str = Field(description="What it did, or why it was refused.")


class Condition(ApiType):
    """A metav1.Condition."""

    type: str = Field(description="Available, Ready, ModelResolved, Progressing or Stalled.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="One word, from the documented list.")
    message: str = Field(description="One sentence.")
    observed_generation: int = Field(description="The generation that it speaks of.")
    last_transition_time: str = Field(
        description="When its status last changed.", json_schema_extra={"format": "date-time"}
    )


class ModelDeploymentStatus(ApiType):
    """What is so, written by the operator alone."""

    model_config = ConfigDict(extra="ignore")

    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that this status speaks of."
    )
    phase: Literal["Pending", "Progressing", "Paused", "Healthy", "Degraded"] | None = Field(
        default=None, description="A summary of the conditions for people; never an input."
    )
    message: str | None = Field(default=None, description="The summary in one sentence.")
    url: str | None = Field(default=None, description="Where clients in the cluster reach it.")
    stable: RevisionStatus | None = Field(
        default=None, description="The revision that serves by default."
    )
    canary: RevisionStatus | None = Field(
        default=None, description="The revision that is being introduced."
    )
    traffic: list[WeightStatus] | None = Field(
        default=None, description="The share of requests of each revision."
    )
    current_step_index: int | None = Field(
        default=None, description="The step of the rollout that is under way, from 0."
    )
    step_started_at: str | None = Field(
        default=None,
        description="When that step began.",
        json_schema_extra={"format": "date-time"},
    )
    model: ModelStatus | None = Field(default=None, description="What spec.model was resolved to.")
    paused_at: str | None = Field(
        default=None,
        description="Since when the rollout is paused; that time does not count for its deadline.",
        json_schema_extra={"format": "date-time"},
    )
    held_pause: HeldPause | None = Field(
        default=None, description="A pause or resume that was asked for by an action."
    )
    rollback_to: str | None = Field(
        default=None,
        description="The revision that a rollback asked for. It stays until spec.model or "
        "spec.server changes, or the action retry.",
    )
    last_action_id: str | None = Field(
        default=None, description="The id of the last action that was looked at: it acts once."
    )
    last_action: ActionStatus | None = Field(
        default=None, description="What became of that action."
    )
    replicas: int | None = Field(
        default=None, description="Pods of the stable revision, for the scale subresource."
    )
    selector: str | None = Field(
        default=None, description="Their label selector, for the scale subresource."
    )
    failed_revision: str | None = Field(
        default=None,
        description="A revision that failed and is not tried again until spec changes.",
    )
    last_failure: FailureStatus | None = Field(
        default=None, description="Why the revision being introduced does not start."
    )
    conditions: list[Condition] | None = Field(
        default=None,
        description="Available, Ready, ModelResolved, Progressing, Stalled.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
