"""One ModelDeployment on the stage of the campaign: what is done to it, and what is waited for."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dev.kube import Kube, NotInTime, wait_until
from dev.stage import condition
from tests.e2e.killing import kill_containers
from tests.e2e.model import Model
from tests.traffic.operator import Operator
from tests.traffic.starts import Starts
from tests.traffic.watch import Body, Check, Watch, summary

ROUND_SECONDS = 240.0
ACTION_SECONDS = 60.0
GONE_SECONDS = 120.0
REFUSALS_SECONDS = 90.0
PATIENCE_SECONDS = 2.0
"""Between two tries to promote, unless status changes before."""


class Unexpected(Exception):
    """A workflow did not end as it should; the text says what was seen instead."""


class Scene:
    """A workflow's resource, in a namespace of its own."""

    def __init__(
        self,
        model: Model,
        operator: Operator,
        spec: Mapping[str, Any],
        starts: Starts,
        faulty_image: str = "",
    ) -> None:
        self.model = model
        self.operator = operator
        self.starts = starts
        self.faulty_image = faulty_image
        self.kube: Kube = model.kube
        self.spec = dict(spec)
        self._watch: Watch | None = None
        self._disturbance: threading.Thread | None = None
        self._disturbed: list[str] = []

    # --- what users do -------------------------------------------------------------------------

    def go_live(self) -> None:
        """The first version serves."""
        self.starts.wait()
        self.model.apply(self.versions[0], **self.spec)
        self._watch = Watch(self.kube, self.model.namespace, self.model.name)
        self.until_live(self.versions[0])

    def apply(self, version: str, **changes: Any) -> None:
        """Applies the spec with another version, and changes that stay.

        Ends when the watch has told of it: what is waited for next is not what was so before.
        """
        self.spec.update(changes)
        self.starts.wait()
        self.model.apply(version, **self.spec)
        name = self.model.name
        live = self.kube.get("modeldeployment", name, "-n", self.model.namespace)
        applied = live["metadata"]["generation"]
        self.watch.until(
            lambda body: bool(body["metadata"]["generation"] >= applied),
            f"the watch tells of generation {applied}",
            ACTION_SECONDS,
        )

    def act(self, verb: str, **members: Any) -> Body:
        """Asks for an action, and waits for what becomes of it.

        Raises:
            Unexpected: it was refused.

        """
        body = self._ask(verb, members)
        answer = body["status"]["lastAction"]
        if not answer["accepted"]:
            raise Unexpected(f"{verb} was refused: {answer['message']}")
        return body

    def promote(self) -> None:
        """Promotes as soon as there is something to promote."""
        deadline = time.monotonic() + REFUSALS_SECONDS
        while not (body := self._ask("promote", {}))["status"]["lastAction"]["accepted"]:
            if time.monotonic() > deadline:
                raise Unexpected(f"promote was refused: {body['status']['lastAction']['message']}")
            seen = body["status"]
            self._until_another_status(seen, PATIENCE_SECONDS)

    def promote_once(self, version: str) -> str:
        """Promotes, unless the version is given up or live before; why the rollout stands then."""
        ends = ("Complete", "RolledBack")
        asked = self.until(
            lambda body: _reason(body) in ("AwaitingPromotion", *ends),
            f"version {version} waits to be promoted, or has ended",
        )
        if _reason(asked) in ends:
            return _reason(asked)
        self._ask("promote", {})
        return _reason(
            self.until(
                lambda body: _reason(body) in ("AwaitingPromotion", *ends),
                f"version {version} is live, given up, or waits again",
            )
        )

    def _until_another_status(self, seen: Body, seconds: float) -> None:
        """Waits for a while at most."""
        with contextlib.suppress(NotInTime):
            self.until(lambda body: bool(body["status"] != seen), "status changes", seconds)

    def _ask(self, verb: str, members: Mapping[str, Any]) -> Body:
        identity = f"{verb}-{secrets.token_hex(4)}"
        action = json.dumps({"id": identity, "verb": verb, **members})
        self.kube.kubectl(
            *("annotate", "modeldeployment", self.model.name, "-n", self.model.namespace),
            *("--overwrite", f"cvfactory.dev/action={action}"),
        )
        return self.until(
            lambda body: body.get("status", {}).get("lastActionId") == identity,
            f"the action {verb} was looked at",
            ACTION_SECONDS,
        )

    # --- what is seen --------------------------------------------------------------------------

    @property
    def watch(self) -> Watch:
        """The resource's history; there is one once it is live."""
        assert self._watch is not None
        return self._watch

    @property
    def status_known(self) -> bool:
        """Whether the resource was ever applied."""
        return self._watch is not None

    @property
    def versions(self) -> tuple[str, str]:
        """The two versions of the model."""
        return self.model.registry.versions

    @property
    def status(self) -> Body:
        """The last status."""
        status: Body = self.watch.body.get("status", {})
        return status

    @property
    def stable(self) -> str:
        """The version that serves by default."""
        return str(self.status["stable"]["version"])

    @property
    def other(self) -> str:
        """The version that does not."""
        return next(version for version in self.versions if version != self.stable)

    def until(self, check: Check, what: str, seconds: float = ROUND_SECONDS) -> Body:
        """Waits for a status; one that says that the spec is refused ends the waiting."""

        def holds(body: Body) -> bool:
            stalled = condition(body, "Stalled")
            if stalled.get("reason") == "InvalidSpec":
                raise Unexpected(f"refused: {stalled['message']}")
            return check(body)

        return self.watch.until(holds, what, seconds)

    def until_live(self, version: str, seconds: float = ROUND_SECONDS) -> None:
        """This generation is rolled out, the version has all requests, nobody else has pods."""

        def live(body: Body) -> bool:
            status = body.get("status", {})
            ready = condition(body, "Ready")
            return (
                (ready.get("status"), ready.get("reason")) == ("True", "Complete")
                and status["phase"] == "Healthy"
                and str(status["stable"]["version"]) == version
                and weights(body) == {status["stable"]["revision"]: 100}
            )

        body = self.until(live, f"version {version} is live", seconds)
        self.until_alone(body["status"]["stable"]["revision"])

    def until_rolled_back(self, version: str, reason: str = "") -> Body:
        """The version has all requests although the spec asks for another one."""

        def back(body: Body) -> bool:
            status = body.get("status", {})
            ready, stalled = condition(body, "Ready"), condition(body, "Stalled")
            return (
                (ready.get("status"), ready.get("reason")) == ("False", "RolledBack")
                and stalled.get("status") == "True"
                and (not reason or stalled.get("reason") == reason)
                and condition(body, "Available").get("status") == "True"
                and str(status["stable"]["version"]) == version
                and weights(body) == {status["stable"]["revision"]: 100}
            )

        return self.until(back, f"rolled back to version {version} {reason}".strip())

    def until_alone(self, revision: str) -> None:
        """Pods of no other revision are left: what has drained has ended."""
        wait_until(
            lambda: all(revision_of(pod) in ("", revision) for pod in self.model.pods()),
            f"only pods of revision {revision} are left",
            GONE_SECONDS,
        )

    def until_weight(self, version: str) -> str:
        """The version has some of the requests; returns its revision."""
        body = self.until(
            lambda body: weight(body, self.watch.history.versions, version) > 0,
            f"version {version} has some of the requests",
        )
        names = self.watch.history.versions
        return next(name for name in weights(body) if names[name] == version)

    def pods(self, revision: str) -> Sequence[Body]:
        """Its pods that do not end."""
        pods = self.model.pods(revision=revision)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    # --- what goes wrong -----------------------------------------------------------------------

    def delete_pod(self, pod: Body) -> None:
        """Deletes it as a drained node would."""
        metadata = pod["metadata"]
        self.kube.kubectl(
            *("delete", "pod", metadata["name"], "-n", metadata["namespace"], "--wait=false")
        )

    def kill_pod(self, pod: Body) -> None:
        """SIGKILL to its process."""
        kill_containers(self.kube, pod)

    def kill_operator_when(self, check: Check, what: str) -> None:
        """Has the operator killed once a status passes; the round waits for that at its end."""

        def kill() -> None:
            try:
                self.until(check, what)
                self.operator.kill()
            except Exception as error:  # noqa: BLE001 - told by `settle_disturbance`
                self._disturbed.append(f"the operator was not killed: {error}")

        self._disturbance = threading.Thread(target=kill, daemon=True)
        self._disturbance.start()

    def settle_disturbance(self) -> None:
        """Waits until the operator was killed and is back.

        Raises:
            Unexpected: the moment for it never came.

        """
        if self._disturbance is None:
            return
        self._disturbance.join(ROUND_SECONDS)
        if self._disturbance.is_alive() or self._disturbed:
            raise Unexpected("; ".join(self._disturbed) or "the operator was never killed")
        self._disturbance = None

    def close(self) -> None:
        """Ends the watch and removes everything."""
        if self._watch:
            self._watch.close()
        self.kube.kubectl("delete", "namespace", self.model.namespace, "--wait=false")

    def tell(self) -> str:
        """One line of what status says."""
        return summary(self.watch.body) if self._watch else "not started"


def _reason(body: Body) -> str:
    """Of the condition Ready, where status is of this generation."""
    ready = condition(body, "Ready")
    current = ready.get("observedGeneration") == body["metadata"]["generation"]
    return str(ready.get("reason", "")) if current else ""


def weights(body: Body) -> dict[str, int]:
    """Percent by revision, those that have some."""
    entries = body.get("status", {}).get("traffic") or ()
    return {entry["revision"]: entry["weight"] for entry in entries if entry["weight"] > 0}


def weight(body: Body, versions: Mapping[str, str], version: str) -> int:
    """Percent of a version."""
    return sum(share for name, share in weights(body).items() if versions.get(name) == version)


def revision_of(pod: Body) -> str:
    """The revision that a pod is of; empty for a router's."""
    revision: str = pod["metadata"]["labels"].get("cvfactory.dev/revision", "")
    return revision
