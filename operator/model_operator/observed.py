"""Everything that one decision is made from: gathered by `observe`, read by `decide`.

Immutable. What is absent is None or missing from its mapping; existence is never guessed from
status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from model_operator import reasons
from model_operator.api import ModelDeploymentSpec, ModelDeploymentStatus, ModelSource, Recorded
from model_operator.errors import ResolutionAwaited, ResolutionError
from model_operator.measurement import Measurement
from model_operator.revisions import ResolvedModel, RevisionRecord, Undigested
from model_operator.router_answer import RouterAnswer

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Defaults:
    """What the operator fills in where a new revision's spec is silent."""

    server_image: str
    tracking_uri: str | None
    allowed_hosts: tuple[str, ...] = ()
    """Where a web server may lead the pods that fetch from it."""
    cluster_domain: str = "svc"
    router_image: str | None = None
    """Image of new routers whose spec names none."""
    tracks_rollouts: bool = False
    """Whether rollouts are recorded in MLflow."""


@dataclass(frozen=True)
class Resource:
    """The ModelDeployment itself."""

    name: str
    namespace: str
    uid: str
    generation: int
    body: Body
    """As the API server returned it."""
    spec: ModelDeploymentSpec | None
    """What of the spec is valid, by which the rollout that is under way goes on; None when not
    even that can be said.
    """
    invalid: str | None
    """Why the spec is not valid; None when it is."""
    status: ModelDeploymentStatus
    """The last status; empty when there is none or it cannot be read."""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name: what it is known by until it is gone."""
        return self.namespace, self.name

    @property
    def server(self) -> Body:
        """`spec.server` as written."""
        server: Body = self.body.get("spec", {}).get("server") or {}
        return server


@dataclass(frozen=True)
class Resolution:
    """The registry's answer for `requested`."""

    requested: ModelSource
    model: ResolvedModel
    refused: ResolutionError | None = None
    """Why the action resolve got no new answer; `model` is the old one then."""
    unfollowed: ResolutionError | None = None
    """Why it is not known what an alias that is followed names now; the same then."""

    def unanswered(self, error: ResolutionError, *, asked: bool) -> Resolution:
        """The same, with why there is no newer answer; `asked`: the action resolve wants one."""
        follows = self.requested.update_policy == "FollowAlias"
        return replace(
            self, refused=error if asked else None, unfollowed=error if follows else None
        )


@dataclass(frozen=True)
class Unverified:
    """What `requested` stands for, as long as a Job has to say which digest it has."""

    requested: ModelSource
    source: Undigested
    known: Resolution | None = None
    """What it was resolved to before; the action resolve asks anew."""
    asked: str | None = None
    """That action's id."""


@dataclass(frozen=True)
class Namesake:
    """An object of another owner under the name of a child."""

    kind: str
    name: str
    predecessor: bool
    """Its owner is a deleted ModelDeployment of the same name: it will go."""


@dataclass(frozen=True)
class Refusal:
    """A child that the API server did not accept in this pass."""

    kind: str
    name: str
    status: int
    """The HTTP status."""
    message: str

    @property
    def reason(self) -> str:
        """The reason for people."""
        return reasons.CHILD_REFUSED if self.status == 403 else reasons.INVALID_SPEC

    @property
    def sentence(self) -> str:
        """For people, too."""
        return f"{self.kind} {self.name} was refused: {self.message}"


@dataclass(frozen=True)
class Observed:
    """The world, as far as one ModelDeployment goes."""

    resource: Resource
    defaults: Defaults
    resolution: Resolution | ResolutionError | None = None
    """None when there was nothing to resolve: the spec is not valid."""
    unverified: Unverified | None = None
    """What the answer is made of where a Job has to compute the digest."""
    jobs: tuple[Body, ...] = ()
    """Those of them that this resource controls."""
    resolver_pods: tuple[Body, ...] = ()
    """Their pods."""
    records: Mapping[str, RevisionRecord] = field(default_factory=dict)
    """By revision, from the ControllerRevisions that this resource controls."""
    deployments: Mapping[str, Body] = field(default_factory=dict)
    """By revision, those that this resource controls."""
    pods: Mapping[str, tuple[Body, ...]] = field(default_factory=dict)
    """By revision."""
    service: Body | None = None
    """The endpoint, when this resource controls it."""
    endpoint_pods: frozenset[str] | None = None
    """Names of the pods that the endpoint lists as ready; None without an Endpoints object."""
    revision_services: Mapping[str, Body] = field(default_factory=dict)
    """By revision, the Services of one revision alone that this resource controls."""
    http_route: Body | None = None
    """The HTTPRoute with the resource's name, when this resource controls it."""
    gateway_api: str | None = None
    """The version in which the cluster serves HTTPRoute; None where it does not, or was not asked:
    only provider GatewayAPI needs it.
    """
    router_pods: tuple[Body, ...] = ()
    """The pods of provider Router's proxy."""
    router_answers: Mapping[str, RouterAnswer] = field(default_factory=dict)
    """By the name of a router pod: what its agent answered in this pass."""
    budget_api: str | None = None
    """The version of group policy in which the cluster serves PodDisruptionBudget; None where it
    does not.
    """
    autoscaling_api: str | None = None
    """The same for group autoscaling and HorizontalPodAutoscaler; None too where it was not asked:
    only an autoscaler needs it.
    """
    probe_answers: Mapping[str, str] = field(default_factory=dict)
    """By the uid of a pod that runs without being ready: what its probes were answered last."""
    measurement: Measurement | None = None
    """What was counted since the last judgement; None while there is nothing new to judge."""
    measurement_due: datetime | None = None
    """When there will be something to judge."""
    recorded: Mapping[str, Recorded] = field(default_factory=dict)
    """By the identity of a rollout: what became of its record, where status does not say it yet."""
    others: Mapping[tuple[str, str], Body] = field(default_factory=dict)
    """By kind and name: what else this resource controls, such as the objects of a provider."""
    rollouts_elsewhere: int | None = None
    """So many rollouts of other resources are under way, as many as may be; None where one more
    may begin.
    """
    namesakes: tuple[Namesake, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    """What the API server did not accept in this pass."""

    @property
    def awaits_registry(self) -> bool:
        """Whether a registry was asked and has not answered yet: what it said last still counts."""
        answer = self.resolution
        errors = (
            (answer.refused, answer.unfollowed) if isinstance(answer, Resolution) else (answer,)
        )
        return any(isinstance(error, ResolutionAwaited) for error in errors)

    def child(self, kind: str, name: str) -> Body | None:
        """One of what a traffic provider writes, the endpoint included; None when absent."""
        if (kind, name) == ("Service", self.resource.name):
            return self.service
        return self.others.get((kind, name))

    def refused(self, refusal: Refusal) -> Observed:
        """The same world, knowing that the API server does not accept a child."""
        return replace(self, refusals=(*self.refusals, refusal))
