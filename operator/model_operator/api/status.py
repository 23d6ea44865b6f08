"""status: what is so, written by the operator alone."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from model_operator.api.base import ApiType
from model_operator.api.model import ModelSource

Verdict = Literal["Pass", "Fail", "NoData"]
Outcome = Literal["Complete", "RolledBack", "Aborted", "Cancelled"]
Recorded = Literal["Waiting", "Written", "Refused"]


class RevisionStatus(ApiType):
    """One revision, as observed."""

    revision: str = Field(description="Its id: ten hexadecimal digits.")
    version: str | None = Field(
        default=None,
        description="The registered version's number; for sources without one, the first 12 digits "
        "of the digest.",
    )
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
    resolved_uri: str = Field(description="The version, or the source, that it named then.")
    version: str = Field(
        description="That version's number; for sources without one, the first 12 digits of the "
        "digest."
    )
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


class AutoscaledStatus(ApiType):
    """What the size has to do with autoscaling."""

    requested: int = Field(description="spec.replicas, which is not enforced as long as it stays.")
    held: int | None = Field(
        default=None,
        description="The size at which autoscaling was switched off: kept until spec.replicas "
        "changes.",
    )
    settling_until: str | None = Field(
        default=None,
        description="Until then the autoscaler may not shrink what the last rollout has left: what "
        "it reads of the load may be older.",
        json_schema_extra={"format": "date-time"},
    )


class ActionStatus(ApiType):
    """What became of the last action (the annotation cvfactory.dev/action)."""

    verb: str | None = Field(
        default=None,
        description="promote, abort, retry, resolve, rollback, pause or resume; absent where the "
        "annotation could not be read.",
    )
    generation: int = Field(description="The generation that it acted on.")
    accepted: bool = Field(description="Whether it did anything.")
    message: str = Field(description="What it did, or why it was refused.")


class MetricStatus(ApiType):
    """What the analysis last found for one metric."""

    name: str = Field(description="The metric's name.")
    value: float | None = Field(default=None, description="The new revision's value.")
    baseline: float | None = Field(default=None, description="The stable revision's value.")
    samples: int = Field(default=0, description="How many requests it was taken from.")
    failures: int = Field(default=0, description="How many failures in a row there were.")
    verdict: Verdict = Field(description="What it was judged to be.")
    message: str | None = Field(
        default=None, description="Why it failed, or why there is no data; one sentence."
    )


class RolloutStatus(ApiType):
    """One rollout: a revision was, or is being, introduced."""

    number: int = Field(description="Counts the rollouts of this resource, from 1.")
    strategy: str = Field(description="The strategy that it follows.")
    revision: str = Field(description="The revision that is introduced.")
    version: str | None = Field(default=None, description="The registered version's number.")
    resolved_uri: str | None = Field(default=None, description="Where its bytes come from.")
    registry: str | None = Field(
        default=None, description="The registry that spec.model.registry named for it."
    )
    sha256: str | None = Field(default=None, description="The digest of its bytes.")
    from_revision: str | None = Field(
        default=None, description="The revision that served when it began; absent: none did."
    )
    from_version: str | None = Field(default=None, description="That one's version.")
    from_uri: str | None = Field(default=None, description="Where that one's bytes come from.")
    from_registry: str | None = Field(
        default=None, description="The registry that was named for that one."
    )
    started_at: str = Field(description="When it began.", json_schema_extra={"format": "date-time"})
    switched_at: str | None = Field(
        default=None,
        description="When all requests had moved to the revision.",
        json_schema_extra={"format": "date-time"},
    )
    ended_at: str | None = Field(
        default=None,
        description="When it was over; absent while it is under way.",
        json_schema_extra={"format": "date-time"},
    )
    steps: int = Field(default=0, description="How many steps of the strategy it has begun.")
    outcome: Outcome | None = Field(
        default=None,
        description="Complete, RolledBack (it failed, or the action rollback ended it), Aborted "
        "(the action abort), or Cancelled (spec asked for another revision before it was over).",
    )
    reason: str | None = Field(default=None, description="Why; one word, as in conditions.")
    message: str | None = Field(default=None, description="Why; one sentence.")
    analysis: list[MetricStatus] | None = Field(
        default=None, description="What the analysis found last, by metric."
    )
    record: Recorded | None = Field(
        default=None,
        description="Its record in MLflow: Waiting to be written, Written, or Refused by the "
        "server (the operator's log says why). Absent where rollouts are not tracked.",
    )


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
        default=None,
        description="A summary of the conditions for people; never an input. Paused: frozen, or "
        "waiting for the action promote; the reason of Ready says which.",
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
    current_step_hash: str | None = Field(
        default=None,
        description="A hash of the strategy and the steps that the index counts in.",
    )
    step_started_at: str | None = Field(
        default=None,
        description="When that step began.",
        json_schema_extra={"format": "date-time"},
    )
    model: ModelStatus | None = Field(default=None, description="What spec.model was resolved to.")
    resolver_job: str | None = Field(
        default=None,
        description="The Job that computes the digest of spec.model, where nobody has registered "
        "one.",
    )
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
        "spec.server changes, or the action retry; where that change asks for the same revision, "
        "until that serves.",
    )
    failed_rollback: str | None = Field(
        default=None, description="The revision that a rollback asked for and that failed, too."
    )
    earlier_action_ids: list[str] | None = Field(
        default=None, description="The ids of some actions before the last: they act no more."
    )
    last_action_id: str | None = Field(
        default=None, description="The id of the last action that was looked at: it acts once."
    )
    last_action: ActionStatus | None = Field(
        default=None, description="What became of that action."
    )
    retiring: str | None = Field(
        default=None,
        description="The revision that served before, as long as it is kept at full size.",
    )
    replicas: int | None = Field(
        default=None, description="Pods of the stable revision, for the scale subresource."
    )
    autoscaled: AutoscaledStatus | None = Field(
        default=None, description="The size is, or was until lately, a HorizontalPodAutoscaler's."
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
    analysis: list[MetricStatus] | None = Field(
        default=None, description="What the analysis last found, by metric."
    )
    analysed_at: str | None = Field(
        default=None,
        description="When that was: what is judged next begins then.",
        json_schema_extra={"format": "date-time"},
    )
    rollouts: list[RolloutStatus] | None = Field(
        default=None,
        description="The rollout that is under way, or the last one; then those before it that "
        "wait to be recorded in MLflow, the newest first.",
    )
    conditions: list[Condition] | None = Field(
        default=None,
        description="Available, Ready, ModelResolved, Progressing, Stalled.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
