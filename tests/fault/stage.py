"""Where faults are played: what all runs share, and the scene of one run.

A scene is one namespace with its own operator behind its own proxy; many of them stand side by
side on one control plane, with one registry and one pod player.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_operator import actions, api, naming
from tests.fault import role
from tests.fault.admin import Admin
from tests.fault.forked import ForkServer
from tests.fault.invariants import Invariants
from tests.fault.operator_process import OperatorProcess
from tests.fault.pod_answers import PodAnswers, Says
from tests.fault.proxy import Proxy
from tests.operator.pod_player import Part, PodPlayer

Body = dict[str, Any]
NAME = "cats-dogs"
DEADLINE_SECONDS = 120.0
READY_AFTER_SECONDS = 0.3
PASS_SECONDS = 1.0
"""A pass has written what it writes so long after it has read the resource."""
_numbers = itertools.count(1)


class NotWithin(AssertionError):
    """Something that must come did not come in time."""


@dataclass(frozen=True)
class Stage:
    """What all runs share."""

    admin: Admin
    player: PodPlayer
    answers: PodAnswers
    tracking_uri: str
    folder: Path
    """For kubeconfigs and logs."""
    free: asyncio.Semaphore
    """How many scenes may still be played."""

    @contextlib.asynccontextmanager
    async def scene(self, mutation: str | None = None) -> AsyncIterator[Scene]:
        """A new namespace with a running operator; both are gone afterwards."""
        async with self.free, self._scene(mutation) as scene:
            yield scene

    @contextlib.asynccontextmanager
    async def _scene(self, mutation: str | None) -> AsyncIterator[Scene]:
        namespace = f"fault-{os.getpid()}-{next(_numbers)}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await self.admin.call("POST", "/api/v1/namespaces", body)
        self.player.part(namespace, Part(delay=lambda pod: READY_AFTER_SECONDS))
        invariants = Invariants(self.admin, self.answers)
        proxy = Proxy(self.admin, role.account(), namespace, witness=invariants, pods=self.answers)
        async with proxy:
            kubeconfig = self.folder / f"{namespace}.kubeconfig"
            proxy.write_kubeconfig(kubeconfig)
            log = self.folder / f"{namespace}.log"
            operator = OperatorProcess(kubeconfig, self.tracking_uri, log, ForkServer(mutation))
            proxy.kill = operator.kill
            scene = Scene(self, namespace, proxy, operator, invariants)
            try:
                await scene.start()
                yield scene
            finally:
                await operator.kill()
                await self.admin.call("DELETE", f"/api/v1/namespaces/{namespace}")


@dataclass
class Scene:
    """One namespace, its operator and its proxy."""

    stage: Stage
    namespace: str
    proxy: Proxy
    operator: OperatorProcess
    invariants: Invariants
    spec: Body = field(default_factory=dict)
    """What every version of the resource asks for."""
    started: list[float] = field(default_factory=list)

    @property
    def admin(self) -> Admin:
        """Past the proxy."""
        return self.stage.admin

    async def start(self) -> None:
        """Starts the operator's next life."""
        self.proxy.reborn()
        self.started.append(time.monotonic())
        await self.operator.start()

    async def restart(self) -> None:
        """Kills the operator at rest and starts it again."""
        await self.operator.kill()
        await self.start()

    # --- what a user does --------------------------------------------------------------------

    def path(self, plural: str = "", name: str = "") -> str:
        """The resource's path, or a child's."""
        prefix = {"": f"/apis/{api.API_VERSION}", "deployments": "/apis/apps/v1"}
        start = prefix.get(plural, "/api/v1")
        return f"{start}/namespaces/{self.namespace}/{plural or api.PLURAL}/{name or NAME}"

    async def submit(self, version: int = 1, replicas: int = 2, **spec: Any) -> None:
        """Applies the resource, as `kubectl apply` would; `self.spec` goes into each."""
        body = {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": {
                "model": {"uri": f"models:/cats-dogs/{version}"},
                "replicas": replicas,
                "strategy": {"type": "Standard", "scaleDownDelaySeconds": 20},
                **self.spec,
                **spec,
            },
        }
        await self.admin.apply(self.path(), body, "kubectl")

    async def ask(self, verb: str, **members: Any) -> None:
        """Asks for an action, as `kubectl annotate` would."""
        action = json.dumps({"id": verb, "verb": verb, **members})
        annotations = {actions.ANNOTATION: action}
        await self.admin.patch(self.path(), {"metadata": {"annotations": annotations}})

    async def delete(self) -> None:
        """Deletes the resource; the cluster's garbage collection follows it."""
        await self.admin.call("DELETE", self.path(), {"propagationPolicy": "Background"})

    def play(self, part: Part) -> None:
        """How the pods behave from now on."""
        self.stage.player.part(self.namespace, part)

    def count(self, says: Says) -> None:
        """What the model servers count from now on."""
        self.stage.answers.say(self.namespace, says)

    # --- what a user sees --------------------------------------------------------------------

    async def resource(self) -> Body | None:
        """The ModelDeployment, or None."""
        return await self.admin.get(self.path())

    async def pods(self) -> list[Body]:
        """All pods of the namespace."""
        return await self.admin.items(f"/api/v1/namespaces/{self.namespace}/pods")

    async def deployments(self) -> dict[str, Body]:
        """All Deployments of the namespace by revision."""
        found = await self.admin.items(f"/apis/apps/v1/namespaces/{self.namespace}/deployments")
        return {naming.revision_of(NAME, body): body for body in found}

    async def until(
        self, check: Callable[[], Awaitable[bool]], what: str, within: float = DEADLINE_SECONDS
    ) -> float:
        """Waits for something; returns how many seconds it took. Raises NotWithin."""
        started = time.monotonic()
        while not await check():
            if self.operator.crashed:
                raise NotWithin(f"the operator ended by itself: {await self.describe()}")
            if time.monotonic() - started > within:
                raise NotWithin(f"not within {within:.0f} s: {what}; {await self.describe()}")
            await asyncio.sleep(0.1)  # how often it looks
        return time.monotonic() - started

    async def until_condition(
        self, kind: str, status: str, reason: str, within: float = DEADLINE_SECONDS
    ) -> float:
        """Waits until a condition of the present generation is as told."""

        async def holds() -> bool:
            found = await self.resource()
            return found is not None and (kind, status, reason) in _conditions(found)

        return await self.until(holds, f"{kind}={status}/{reason}", within)

    async def until_settled(self) -> None:
        """Waits until every Deployment has the pods that it wants, and no other is left."""

        async def settled() -> bool:
            sizes = [
                (body["spec"]["replicas"], (body.get("status") or {}).get("replicas", 0))
                for body in (await self.deployments()).values()
            ]
            dying = any("deletionTimestamp" in pod["metadata"] for pod in await self.pods())
            return not dying and all(wanted == there for wanted, there in sizes)

        await self.until(settled, "every Deployment has its pods")

    async def until_quiet(self, seconds: float = 2.0) -> None:
        """Waits until the operator lives and has written nothing for a while."""

        async def quiet() -> bool:
            started = time.monotonic() - self.started[-1]
            calm = self.proxy.record.quiet_for() >= seconds and started >= seconds
            if not (self.operator.running and calm and self.listening()):
                return False
            resource = await self.resource()
            return resource is None or (self.has_looked() and not _waits_to_be_recorded(resource))

        await self.until(quiet, "the operator is at rest")

    async def until_listening(self) -> None:
        """Waits until the operator's present life watches its resources."""

        async def listens() -> bool:
            return self.listening()

        await self.until(listens, "the operator watches")

    def has_looked(self) -> bool:
        """Whether the operator's present life has made its first pass, some time ago."""
        looks = [
            call.at
            for call in self.proxy.record.calls
            if call.life == self.proxy.life
            and (call.request.verb, call.request.plural) == ("get", api.PLURAL)
        ]
        return bool(looks) and time.monotonic() - looks[0] >= PASS_SECONDS

    def listening(self) -> bool:
        """Whether the operator's present life watches its resources."""
        life = self.proxy.life
        return any(
            call.life == life and call.request.verb == "watch" for call in self.proxy.record.calls
        )

    async def describe(self) -> str:
        """What the resource says, for a failure."""
        found = await self.resource()
        status = (found or {}).get("status") or {}
        said = f"{status.get('phase')}, {status.get('message')!r}" if found else "no resource"
        pods = [f"{p['metadata']['name']} {p.get('status')}" for p in await self.pods()]
        return f"{said}; pods: {pods}; the operator's last words: {self.operator.last_words()}"


def _waits_to_be_recorded(resource: Body) -> bool:
    """Whether a status will be written as soon as MLflow has a record."""
    rollouts = (resource.get("status") or {}).get("rollouts") or ()
    return any(rollout.get("record") == "Waiting" for rollout in rollouts)


def _conditions(resource: Body) -> list[tuple[str, str, str]]:
    generation = resource["metadata"]["generation"]
    conditions = (resource.get("status") or {}).get("conditions") or ()
    return [
        (c["type"], c["status"], c["reason"])
        for c in conditions
        if c["observedGeneration"] == generation
    ]
