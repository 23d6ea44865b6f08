"""The types of the ModelDeployment resource: the one source of its schema, defaults and docs.

`crd` turns them into the CustomResourceDefinition, `observe` reads live resources with them, and
`kubectl explain modeldeployment` prints the descriptions that stand here. What a type cannot say
(a sentence in place of a pattern, a relation between fields) is a rule in `validation`.
"""

from __future__ import annotations

from model_operator.api.base import (
    API_VERSION,
    GROUP,
    KIND,
    NAME_MAX_LENGTH,
    PLURAL,
    VERSION,
    ApiType,
    PodFragment,
    SecretReference,
)
from model_operator.api.durations import parse_duration
from model_operator.api.model import ModelSource
from model_operator.api.server import (
    CLAIM_VOLUME,
    RESERVED_ENVIRONMENT,
    RESERVED_PATHS,
    RESERVED_VOLUMES,
    ServerSpec,
)
from model_operator.api.spec import Autoscaling, ModelDeploymentSpec
from model_operator.api.status import (
    ActionStatus,
    AutoscaledStatus,
    Condition,
    FailureStatus,
    HeldPause,
    MetricStatus,
    ModelDeploymentStatus,
    ModelStatus,
    Outcome,
    Recorded,
    RevisionStatus,
    RolloutStatus,
    Verdict,
    WeightStatus,
)
from model_operator.api.strategy import (
    BUILT_IN_METRICS,
    CLASS_MISMATCH,
    ERROR_RATE,
    LATENCY_PERCENTILES,
    REVISION_PLACEHOLDER,
    SHADOW_AGREEMENT,
    Analysis,
    BlueGreen,
    Canary,
    CanaryStep,
    Metric,
    Pause,
    PrometheusQuery,
    Shadow,
    Strategy,
)
from model_operator.api.traffic import (
    GatewaySettings,
    ParentReference,
    RouterSettings,
    ServiceSettings,
    Sticky,
    Traffic,
)

__all__ = [
    "API_VERSION",
    "BUILT_IN_METRICS",
    "CLAIM_VOLUME",
    "CLASS_MISMATCH",
    "ERROR_RATE",
    "GROUP",
    "KIND",
    "LATENCY_PERCENTILES",
    "NAME_MAX_LENGTH",
    "PLURAL",
    "RESERVED_ENVIRONMENT",
    "RESERVED_PATHS",
    "RESERVED_VOLUMES",
    "REVISION_PLACEHOLDER",
    "SHADOW_AGREEMENT",
    "VERSION",
    "ActionStatus",
    "Analysis",
    "ApiType",
    "AutoscaledStatus",
    "Autoscaling",
    "BlueGreen",
    "Canary",
    "CanaryStep",
    "Condition",
    "FailureStatus",
    "GatewaySettings",
    "HeldPause",
    "Metric",
    "MetricStatus",
    "ModelDeploymentSpec",
    "ModelDeploymentStatus",
    "ModelSource",
    "ModelStatus",
    "Outcome",
    "ParentReference",
    "Pause",
    "PodFragment",
    "PrometheusQuery",
    "Recorded",
    "RevisionStatus",
    "RolloutStatus",
    "RouterSettings",
    "SecretReference",
    "ServerSpec",
    "ServiceSettings",
    "Shadow",
    "Sticky",
    "Strategy",
    "Traffic",
    "Verdict",
    "WeightStatus",
    "parse_duration",
]
