"""spec.server: how the model server runs.

No field here has a default: the API server would write it into every resource, and a revision's
id is taken over `spec.server` as written, so a default that a later release adds would start
every model anew. What is left out is filled in when a revision's pod template is rendered, and
frozen with it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from model_operator.api.base import ApiType, Label, Needs, PodFragment, SecretReference

RESERVED_ENVIRONMENT = frozenset(
    {
        *("MODEL_PATH", "MODEL_SHA256", "MODEL_NAME", "MODEL_VERSION", "REVISION", "PORT"),
        *("DRAIN_SECONDS", "REQUEST_TIMEOUT_SECONDS", "MIRROR_CONFIG"),
    }
)
"""Variables of the server that the operator sets itself."""

_OF_THE_SERVER = frozenset({"mirror", "models", "tmp"})
"""Volumes that are mounted in the server's container, each under its own name below /."""

CLAIM_VOLUME = "cv-factory-claim"
"""The volume of a pvc:// source: the container that fetches has it, and no other."""

RESERVED_VOLUMES = _OF_THE_SERVER | {CLAIM_VOLUME}
"""Volumes of the pods that the operator adds itself."""

RESERVED_PATHS = tuple(f"/{name}" for name in sorted(_OF_THE_SERVER))
"""Where the server's container has its own."""

EnvVar = Annotated[PodFragment, Needs("name", "The variable's name.", 256)]
Volume = Annotated[PodFragment, Needs("name", "The name that volumeMounts call it by.", 63)]
VolumeMount = Annotated[
    PodFragment,
    Needs("name", "Which of spec.server.volumes is mounted.", 63),
    Needs("mountPath", "Where, as an absolute path.", 512),
]


class ServerSpec(ApiType):
    """How the model server runs. A change of anything here is a new revision."""

    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
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
        default=None,
        max_length=253,
        description="The pods' service account. No token is mounted.",
    )
    env: list[EnvVar] | None = Field(
        default=None,
        max_length=128,
        description="Environment variables of the server container (EnvVar). Names must differ; "
        f"the operator's own are taken: {', '.join(sorted(RESERVED_ENVIRONMENT))}.",
    )
    env_from: list[PodFragment] | None = Field(
        default=None,
        max_length=64,
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
        default=None, max_length=253, description="The pods' PriorityClass, which must exist."
    )
    runtime_class_name: str | None = Field(
        default=None,
        max_length=253,
        description="The pods' RuntimeClass, which must exist, for example nvidia.",
    )
    volumes: list[Volume] | None = Field(
        default=None,
        max_length=64,
        description="More volumes of the pods (Volume). Names must differ; "
        f"{', '.join(sorted(RESERVED_VOLUMES))} are taken.",
    )
    volume_mounts: list[VolumeMount] | None = Field(
        default=None,
        max_length=64,
        description="Where those volumes are mounted in the server container (VolumeMount). "
        f"Nothing may be mounted at or below {', '.join(RESERVED_PATHS)}, which are "
        "the operator's.",
    )
    pod_labels: dict[str, Label] | None = Field(
        default=None,
        max_length=64,
        description="More labels for the pods. app.kubernetes.io/name, /instance and /managed-by "
        "and all of cvfactory.dev are the operator's.",
    )
    pod_annotations: dict[str, str] | None = Field(
        default=None, description="More annotations for the pods."
    )
    drain_seconds: Annotated[int, Field(ge=0, le=600)] | None = Field(
        default=None,
        description="How long a pod goes on answering after it was told to stop, so that clients "
        "and nodes can notice. Default: 15. 0 loses requests.",
    )
