"""What MLflow keeps of a rollout: a run in an experiment, and tags on the registered version. Pure.

`reconcile` takes from here what waits to be written; `clients.tracker` writes it. docs/tracking.md
shows all of it to users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_operator import naming, rollout_history
from model_operator.allowed import same_server
from model_operator.api import RolloutStatus
from model_operator.observed import Resource
from model_operator.timestamps import parse_time

ROLLOUT_TAG = "cvfactory.rollout"
"""Of a run: the identity of its rollout, by which it is found again."""
LONGEST_PARAM = 500
LONGEST_TAG = 5000
"""What MLflow has taken since 2022, in characters; later servers take more."""

_REGISTERED = re.compile(r"^models:/(?P<name>[^/@]+)/(?P<version>[0-9]+)$")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_. -]")
OUTCOMES = {
    "Complete": "complete",
    "RolledBack": "rolled back",
    "Aborted": "aborted",
    "Cancelled": "cancelled",
}


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the model registry."""

    name: str
    version: str


@dataclass(frozen=True)
class RolloutRecord:
    """One rollout that is over, as it is to be recorded."""

    identity: str
    """Of the rollout: a record that is written twice is one record."""
    namespace: str
    name: str
    """The resource's."""
    rollout: RolloutStatus
    live: bool
    """Whether its revision is the one that serves by default now, since this rollout."""
    newest: bool = True
    """Whether no later rollout of the same version is over: only the last one is told of."""
    own_registry: str | None = None
    """The operator's: versions of another one are not to be tagged here."""

    @property
    def target(self) -> RegisteredVersion | None:
        """What was rolled out, where that is a version of the registry."""
        return self._ours(self.rollout.registry, self.rollout.resolved_uri)

    @property
    def origin(self) -> RegisteredVersion | None:
        """What served before, where that is one."""
        return self._ours(self.rollout.from_registry, self.rollout.from_uri)

    def _ours(self, registry: str | None, uri: str | None) -> RegisteredVersion | None:
        ours = registry is None or same_server(registry, self.own_registry)
        return registered(uri) if ours else None


def registered(uri: str | None) -> RegisteredVersion | None:
    """The version that a resolved URI names; None where it is no version of the registry.

    >>> registered("models:/cats-dogs/3")
    RegisteredVersion(name='cats-dogs', version='3')
    >>> registered("s3://bucket/cats-dogs")
    """
    match = _REGISTERED.match(uri or "")
    return RegisteredVersion(match["name"], match["version"]) if match else None


def waiting(
    resource: Resource, status: Mapping[str, Any], own_registry: str | None
) -> tuple[RolloutRecord, ...]:
    """The records that a status, as it stands in the API server, asks for; the oldest first."""
    stable = (status.get("stable") or {}).get("revision")
    rollouts = [
        RolloutStatus.model_validate(rollout, extra="ignore")
        for rollout in status.get("rollouts") or ()
    ]
    return tuple(
        _record(resource, rollout, rollouts[:place], stable, own_registry)
        for place, rollout in reversed(list(enumerate(rollouts)))
        if rollout.record == "Waiting"
    )


def _record(
    resource: Resource,
    rollout: RolloutStatus,
    later: Sequence[RolloutStatus],
    stable: str | None,
    own_registry: str | None,
) -> RolloutRecord:
    """Of one rollout; a record may be written after those of later ones, for they are tried again
    in any order.
    """
    version = (rollout.registry, rollout.resolved_uri)
    serves = rollout.revision == stable
    return RolloutRecord(
        identity=rollout_history.identity(resource.uid, rollout),
        namespace=resource.namespace,
        name=resource.name,
        rollout=rollout,
        live=serves and rollout.revision not in [one.revision for one in later],
        newest=version not in [(one.registry, one.resolved_uri) for one in later if one.ended_at],
        own_registry=own_registry,
    )


def is_named_in_the_registry(status: Mapping[str, Any]) -> bool:
    """Whether a registered version may have a tag that says that it is live here."""
    serves_from_there = registered((status.get("stable") or {}).get("resolvedUri")) is not None
    return serves_from_there and any(r.get("record") for r in status.get("rollouts") or ())


# --- tags of a registered version ----------------------------------------------------------------


def live_tag(cluster: str, namespace: str, name: str) -> str:
    """The key of the tag of the version that a resource serves."""
    return f"cvfactory.live.{cluster}.{namespace}.{name}"


def live_since(rollout: RolloutStatus) -> str:
    """Its value: `2a5c629232 since 2026-11-22T16:10:00Z`."""
    return f"{rollout.revision} since {rollout.switched_at or rollout.ended_at}"


def last_rollout_tag(cluster: str, namespace: str, name: str) -> str:
    """The key of the tag that says what became of a version's last rollout in a resource."""
    return f"cvfactory.last-rollout.{cluster}.{namespace}.{name}"


def last_rollout(rollout: RolloutStatus) -> str:
    """Its value: `rolled back at 2026-11-22T16:10:00Z: AnalysisFailed`."""
    return f"{_outcome(rollout)} at {rollout.ended_at}: {rollout.reason}"


# --- the run -------------------------------------------------------------------------------------


def run_name(record: RolloutRecord) -> str:
    """What lists show: `vision/cats-dogs 7`."""
    return f"{record.namespace}/{record.name} {record.rollout.number}"


def run_status(record: RolloutRecord) -> str:
    """In MLflow's words."""
    return "FINISHED" if record.rollout.outcome == "Complete" else "FAILED"


def run_times(record: RolloutRecord) -> tuple[int, int]:
    """The start and the end, in milliseconds since 1970."""
    rollout = record.rollout
    return _milliseconds(rollout.started_at), _milliseconds(rollout.ended_at)


def run_tags(record: RolloutRecord) -> dict[str, str]:
    """How it ended, and by which rollout the run is found."""
    rollout = record.rollout
    return {
        ROLLOUT_TAG: record.identity,
        "outcome": _outcome(rollout),
        "reason": rollout.reason or "",
        "message": (rollout.message or "")[:LONGEST_TAG],
        "mlflow.user": naming.MANAGER,
        "mlflow.source.name": naming.MANAGER,
    }


def run_params(record: RolloutRecord, cluster: str) -> dict[str, str]:
    """What was asked for; what is not known is left out."""
    rollout = record.rollout
    params = {
        "cluster": cluster,
        "namespace": record.namespace,
        "name": record.name,
        "rollout": str(rollout.number),
        "strategy": rollout.strategy,
        "from.revision": rollout.from_revision,
        "from.version": rollout.from_version,
        "from.uri": _without_query(rollout.from_uri),
        "to.revision": rollout.revision,
        "to.version": rollout.version,
        "to.uri": _without_query(rollout.resolved_uri),
        "to.sha256": rollout.sha256,
    }
    return {key: value[:LONGEST_PARAM] for key, value in params.items() if value}


def run_metrics(record: RolloutRecord) -> dict[str, float]:
    """How long it took and how far it came, and what the analysis found last."""
    rollout = record.rollout
    started, ended = run_times(record)
    metrics = {"duration_seconds": (ended - started) / 1000, "steps": float(rollout.steps)}
    if rollout.switched_at:
        until_switch = _milliseconds(rollout.switched_at) - started
        metrics["seconds_until_switch"] = max(0, until_switch) / 1000
    for found in rollout.analysis or ():
        name = f"analysis.{_NOT_IN_A_NAME.sub('_', found.name)}"
        values = {"": found.value, ".baseline": found.baseline, ".samples": float(found.samples)}
        metrics |= {f"{name}{what}": v for what, v in values.items() if v is not None}
    return metrics


def _without_query(uri: str | None) -> str:
    """A query may hold a signature, which is a credential."""
    return (uri or "").partition("?")[0]


def _outcome(rollout: RolloutStatus) -> str:
    return OUTCOMES.get(rollout.outcome or "", "")


def _milliseconds(time: str | None) -> int:
    moment = parse_time(time)
    return int(moment.timestamp() * 1000) if moment else 0
