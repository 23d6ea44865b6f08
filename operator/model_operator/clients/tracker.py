"""The Tracker: what became of rollouts, written to an MLflow server.

`runtime.recording` calls it, outside of all passes. Everything here may be done again: a run is
found by its rollout before one is made, and tags are set to what they should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from model_operator import tracking
from model_operator.clients.mlflow import DOES_NOT_EXIST, EXISTS, MlflowClient
from model_operator.errors import ExperimentDeleted, MlflowRefused, NotMlflow
from model_operator.tracking import RegisteredVersion, RolloutRecord

log = structlog.get_logger(__name__)


class Tracker(Protocol):
    """Keeps the history of rollouts."""

    async def record(self, record: RolloutRecord) -> None:
        """Records a rollout that is over.

        Raises:
            MlflowRefused: it will never be taken as it is.
            MlflowError: it is to be tried again.

        """
        ...

    async def withdraw(self, namespace: str, name: str) -> None:
        """Says that a resource, which is gone, serves no version any more; raises as `record`."""
        ...


class MlflowTracker:
    """A run for each rollout, and tags on registered versions."""

    def __init__(self, client: MlflowClient, cluster: str, experiment: str) -> None:
        self._client = client
        self._cluster = cluster
        self._experiment = experiment

    async def record(self, record: RolloutRecord) -> None:
        """See `Tracker.record`."""
        await self._write_run(record)
        if record.target and record.newest:
            key = tracking.last_rollout_tag(self._cluster, record.namespace, record.name)
            await self._tag(record.target, key, tracking.last_rollout(record.rollout))
        if record.live and (record.target or record.origin):
            live = tracking.live_since(record.rollout)
            await self._move_live(record.namespace, record.name, record.target, live)

    async def withdraw(self, namespace: str, name: str) -> None:
        """See `Tracker.withdraw`."""
        await self._move_live(namespace, name, None, "")

    # --- the run -----------------------------------------------------------------------------

    async def _write_run(self, record: RolloutRecord) -> None:
        experiment = await self._experiment_id()
        run = await self._find_run(experiment, record) or await self._create_run(experiment, record)
        _, ended = tracking.run_times(record)
        await self._client.post(
            "runs/log-batch",
            {
                "run_id": run,
                "params": _listed(tracking.run_params(record, self._cluster)),
                "tags": _listed(tracking.run_tags(record)),
                "metrics": [
                    {"key": key, "value": value, "timestamp": ended, "step": 0}
                    for key, value in tracking.run_metrics(record).items()
                ],
            },
        )
        end = {"run_id": run, "status": tracking.run_status(record), "end_time": ended}
        await self._client.post("runs/update", end)

    async def _experiment_id(self) -> str:
        """The experiment's id; it is made when the first rollout is recorded."""
        name = {"experiment_name": self._experiment}
        try:
            body = await self._client.get("experiments/get-by-name", name)
        except MlflowRefused as error:
            if error.code != DOES_NOT_EXIST:
                raise
            return await self._create_experiment()
        if self._member(body, "experiment", "lifecycle_stage") == "deleted":
            raise ExperimentDeleted(self._client.address, self._experiment)
        return self._member(body, "experiment", "experiment_id")

    async def _create_experiment(self) -> str:
        try:
            body = await self._client.post("experiments/create", {"name": self._experiment})
        except MlflowRefused as error:
            if error.code != EXISTS:  # otherwise another operator was faster
                raise
            return await self._experiment_id()
        return self._member(body, "experiment_id")

    async def _find_run(self, experiment: str, record: RolloutRecord) -> str | None:
        by_rollout = f"tags.`{tracking.ROLLOUT_TAG}` = '{record.identity}'"
        question = {"experiment_ids": [experiment], "filter": by_rollout, "max_results": 1}
        body = await self._client.post("runs/search", question)
        found = body.get("runs")
        return self._member({"run": found[0]}, "run", "info", "run_id") if found else None

    async def _create_run(self, experiment: str, record: RolloutRecord) -> str:
        started, _ = tracking.run_times(record)
        body = await self._client.post(
            "runs/create",
            {
                "experiment_id": experiment,
                "run_name": tracking.run_name(record),
                "start_time": started,
                # From its first moment it is found by its rollout.
                "tags": _listed(tracking.run_tags(record)),
            },
        )
        return self._member(body, "run", "info", "run_id")

    # --- the registered versions -------------------------------------------------------------

    async def _move_live(
        self, namespace: str, name: str, target: RegisteredVersion | None, value: str
    ) -> None:
        """Leaves the tag on `target` alone, whatever versions had it."""
        key = tracking.live_tag(self._cluster, namespace, name)
        if target is not None:
            await self._tag(target, key, value)
        question = {"filter": f"tags.`{key}` LIKE '%'"}
        body = await self._client.get("model-versions/search", question)
        for found in body.get("model_versions") or ():
            version = RegisteredVersion(
                self._member(found, "name"), str(self._member(found, "version"))
            )
            if version != target:
                await self._untag(version, key)

    async def _tag(self, version: RegisteredVersion, key: str, value: str) -> None:
        tag = {"name": version.name, "version": version.version, "key": key, "value": value}
        try:
            await self._client.post("model-versions/set-tag", tag)
        except MlflowRefused as error:
            _must_be_gone(error)
            log.info("version is not in the registry any more: not tagged", **tag)

    async def _untag(self, version: RegisteredVersion, key: str) -> None:
        tag = {"name": version.name, "version": version.version, "key": key}
        try:
            await self._client.delete("model-versions/delete-tag", tag)
        except MlflowRefused as error:
            _must_be_gone(error)

    def _member(self, body: Any, *path: str) -> str:
        """A text within an answer, which MLflow always gives."""
        for name in path:
            body = body.get(name) if isinstance(body, Mapping) else None
        if not isinstance(body, str):
            raise NotMlflow(self._client.address, 200)
        return body


def _listed(members: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in members.items()]


def _must_be_gone(error: MlflowRefused) -> None:
    if error.code != DOES_NOT_EXIST:
        raise error
