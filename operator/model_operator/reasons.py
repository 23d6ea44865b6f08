"""The types and reasons of conditions, failures and events: documented constants, nothing else.

A reason is part of the interface: alerts, ArgoCD's health script and people match on it.
"""

from __future__ import annotations

from typing import Final

# --- Types of conditions -------------------------------------------------------------------

AVAILABLE: Final = "Available"
"""The stable revision serves requests."""

READY: Final = "Ready"
"""This generation is fully rolled out and nothing is pending."""

MODEL_RESOLVED: Final = "ModelResolved"
"""spec.model was resolved to one version and its digest."""

PROGRESSING: Final = "Progressing"
"""A rollout is under way."""

STALLED: Final = "Stalled"
"""Nothing will change until somebody acts."""

# --- Reasons: the serving state ------------------------------------------------------------

SERVING: Final = "Serving"
"""Ready pods of the stable revision receive the requests."""

SCALED_TO_ZERO: Final = "ScaledToZero"
"""spec.replicas is 0: nothing serves, as asked."""

NO_STABLE_REVISION: Final = "NoStableRevision"
"""No revision has become ready yet."""

NO_READY_PODS: Final = "NoReadyPods"
"""The stable revision has no ready pod."""

RECREATING: Final = "Recreating"
"""Strategy Recreate stopped the stable revision; nothing serves until the wanted one is ready."""

# --- Reasons: the model --------------------------------------------------------------------

RESOLVED: Final = "Resolved"
"""The registry named the version and its digest."""

MODEL_NOT_FOUND: Final = "ModelNotFound"
"""The registry knows no such model, version or alias."""

NO_DIGEST: Final = "NoDigest"
"""The version's tag sha256 is no digest and spec.model.sha256 is empty."""

DIGEST_REFUSED: Final = "DigestRefused"
"""The version's tag sha256 is not the digest that spec.model.sha256 pins."""

SOURCE_REFUSED: Final = "SourceRefused"
"""The operator's settings do not allow this kind of source, or its host."""

NOT_VALIDATED: Final = "NotValidated"
"""The version has not the tags that spec.model.requiredTags asks for."""

RESOLVING: Final = "Resolving"
"""A Job computes the digest of a source that nobody has registered, or the registry was asked and
has not answered yet."""

RESOLVER_FAILED: Final = "ResolverFailed"
"""That Job ended without a digest; it is tried again."""

SOURCE_UNREACHABLE: Final = "SourceUnreachable"
"""The source did not answer the Job, or refused its credentials; it is tried again."""

REGISTRY_UNREACHABLE: Final = "RegistryUnreachable"
"""The registry does not answer; what serves keeps serving and the operator tries again."""

REGISTRY_REFUSED: Final = "RegistryRefused"
"""The registry refused the operator's credentials."""

# --- Reasons: the rollout ------------------------------------------------------------------

COMPLETE: Final = "Complete"
"""The wanted revision serves with all its replicas and older ones have stopped."""

STARTING: Final = "Starting"
"""The wanted revision's pods are starting; traffic has not moved."""

WAITING_FOR_TURN: Final = "WaitingForTurn"
"""As many rollouts of other resources are under way as may be."""

INTRODUCING: Final = "Introducing"
"""The wanted revision gets a part of the requests, or copies of them, step by step."""

AWAITING_PROMOTION: Final = "AwaitingPromotion"
"""The rollout goes on with the action promote."""

STOPPING: Final = "Stopping"
"""Strategy Recreate: what runs is being stopped before the wanted revision starts."""

PODS_REMAIN: Final = "PodsRemain"
"""Strategy Recreate waits for pods that do not end, for example on a node that is away."""

PAUSED: Final = "Paused"
"""The rollout is frozen by spec.paused or by the action pause."""

SWITCHED: Final = "Switched"
"""Traffic has moved; the older revision stays for scaleDownDelaySeconds."""

SCALING: Final = "Scaling"
"""The stable revision has not as many ready pods as asked for."""

ROLLED_BACK: Final = "RolledBack"
"""The wanted revision failed, or the action rollback asked for another; that one serves."""

ABORTED: Final = "Aborted"
"""The rollout was ended by the action abort."""

CANCELLED: Final = "Cancelled"
"""Of a rollout in status.rollouts: another revision was wanted before it was over."""

NOT_STALLED: Final = "NotStalled"
"""Nothing stands in the way."""

# --- Reasons: what stands in the way -------------------------------------------------------

INVALID_SPEC: Final = "InvalidSpec"
"""The spec, or an object made from it, is not valid; what serves keeps serving."""

CHILD_REFUSED: Final = "ChildRefused"
"""The API server refuses a child: by a quota, an admission rule or the operator's role."""

NAME_CONFLICT: Final = "NameConflict"
"""An object that belongs to somebody else has the name of a child."""

WAITING_FOR_PREDECESSOR: Final = "WaitingForPredecessor"
"""Children of a deleted resource of the same name are still being removed."""

GATEWAY_API_MISSING: Final = "GatewayApiMissing"
"""spec.traffic.provider is GatewayAPI, and the cluster serves no HTTPRoute."""

ROUTE_REFUSED: Final = "RouteRefused"
"""A Gateway's controller does not accept the HTTPRoute, or not the Services that it names."""

ROUTER_IMAGE_MISSING: Final = "RouterImageMissing"
"""spec.traffic.provider is Router, and neither the spec nor the operator names its image."""

ROUTER_NOT_READY: Final = "RouterNotReady"
"""No router pod is ready, and waiting does not help: they crash, or were not ready in time."""

MODEL_REFUSED: Final = "ModelRefused"
"""The bytes do not match their digest, or the artifact cannot be served (exit status 3)."""

MODEL_MISSING: Final = "ModelMissing"
"""The fetching container did not find the model (exit status 4)."""

IMAGE_PULL_FAILED: Final = "ImagePullFailed"
"""The image cannot be pulled."""

CONTAINER_CRASHED: Final = "ContainerCrashed"
"""A container ends again and again."""

CONTAINER_NOT_STARTED: Final = "ContainerNotStarted"
"""The kubelet cannot create a container, for example for want of a Secret."""

NOT_READY: Final = "NotReady"
"""A container runs, but its probe is not answered as it should be."""

UNSCHEDULABLE: Final = "Unschedulable"
"""No node takes the pod."""

PODS_REFUSED: Final = "PodsRefused"
"""The pods cannot be created, for example because of a quota or an admission rule."""

PROGRESS_DEADLINE_EXCEEDED: Final = "ProgressDeadlineExceeded"
"""The pods were not ready within progressDeadlineSeconds."""

ANALYSIS_FAILED: Final = "AnalysisFailed"
"""The wanted revision runs, but is worse than its analysis, or its shadow, allows."""
