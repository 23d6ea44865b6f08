"""Where leaders are killed and stopped: an API server that keeps an audit log, two operators, and
resources whose spec changes all the time.

The operators are real processes with the chart's service account, and go straight to the API
server. There is no node: children are written, and no pod starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.cluster.controlplane import ControlPlane, free_ports
from model_operator import api
from tests.fault import role
from tests.fault.admin import Admin
from tests.fault.house import install
from tests.fault.mlflow_server import mlflow_server
from tests.fault.operator_process import OperatorProcess, interpreter
from tests.leader.audit import POLICY, AuditLog

NAMESPACE = "leader"
LEASE = "cv-factory-operator"
RESOURCES = 3
EDIT_SECONDS = 0.05
"""Between two changes of a spec: passes are under way at almost any moment."""
DEADLINE_SECONDS = 60.0
OPERATOR = "model_operator.main"
UNFENCED = "tests.leader.unfenced"


class NotWithin(AssertionError):
    """Something that must come did not come in time."""


async def until(check: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits for something. Raises NotWithin."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await check():
        if time.monotonic() > deadline:
            raise NotWithin(f"not within {DEADLINE_SECONDS:.0f} s: {what}")
        await asyncio.sleep(0.02)  # how often it looks


@dataclass
class Operator:
    """One of the two: a pod's name, whose processes come and go."""

    pod: str
    process: OperatorProcess
    port: int

    async def says(self) -> str:
        """What /readyz answers; empty while nobody answers."""
        return await asyncio.to_thread(_ask, f"http://127.0.0.1:{self.port}/readyz")

    async def start(self) -> None:
        """Starts a process, and waits until it could take over."""
        await self.process.start()
        await until(self.is_ready, f"{self.pod} is ready: {self.process.last_words()}")

    async def is_ready(self) -> bool:
        """Whether it leads or stands by."""
        return await self.says() in ("ok\n", "standby\n")

    async def stands_by(self) -> bool:
        """Whether it knows that it does not lead."""
        return await self.says() == "standby\n"


def _ask(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


@dataclass
class Stage:
    """Everything that stands."""

    admin: Admin
    audit: AuditLog
    operators: dict[str, Operator]
    lease_seconds: int
    edits: int = field(default=0)

    async def holder(self) -> str:
        """The identity that stands in the Lease; empty where there is none."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{role.RELEASE_NAMESPACE}/leases/{LEASE}"
        body = await self.admin.get(path) or {}
        return (body.get("spec") or {}).get("holderIdentity") or ""

    async def leader(self) -> tuple[str, Operator, Operator]:
        """Who leads and writes, and who stands by; waits until both do."""
        holder = ""

        async def settled() -> bool:
            nonlocal holder
            holder = await self.holder()
            self.audit.follow()
            recent = time.time() - 1.0
            writing = any(
                write.identity == holder and write.of_child and write.began > recent
                for write in reversed(self.audit.writes[-200:])
            )
            pod = holder.rpartition("_")[0]
            others = [one for one in self.operators.values() if one.pod != pod]
            return writing and all([await one.stands_by() for one in others])

        await until(settled, "one leads and the other stands by")
        leader = self.operators[holder.rpartition("_")[0]]
        (other,) = (one for one in self.operators.values() if one is not leader)
        return holder, leader, other

    async def keep_editing(self) -> None:
        """Changes one spec after the other, for ever."""
        for number in itertools.count():
            name, replicas = f"cats-dogs-{number % RESOURCES}", 1 + number // RESOURCES % 5
            path = f"/apis/{api.API_VERSION}/namespaces/{NAMESPACE}/{api.PLURAL}/{name}"
            await self.admin.patch(path, {"spec": {"replicas": replicas}})
            self.edits += 1
            await asyncio.sleep(EDIT_SECONDS)


@contextlib.asynccontextmanager
async def stage(lease_seconds: int, module: str = OPERATOR) -> AsyncIterator[Stage]:
    """Two operators under load; `module` is started instead of the operator's own."""
    with (
        tempfile.TemporaryDirectory(prefix="leader-") as scratch,
        _api_server(Path(scratch)) as (plane, audit),
        _registry(Path(scratch)) as tracking_uri,
    ):
        async with Admin(plane.kubeconfig) as admin:
            kubeconfig = await _operators_kubeconfig(admin, plane, Path(scratch))
            operators = {
                pod: _operator(pod, kubeconfig, tracking_uri, lease_seconds, module)
                for pod in ("operator-a", "operator-b")
            }
            await _create_resources(admin)
            built = Stage(admin, audit, operators, lease_seconds)
            editing = asyncio.create_task(built.keep_editing())
            try:
                for operator in operators.values():
                    await operator.start()
                yield built
            finally:
                editing.cancel()
                for operator in operators.values():
                    with contextlib.suppress(AssertionError, ProcessLookupError):
                        operator.process.signal(signal.SIGCONT)
                    await operator.process.kill()
                await asyncio.wait([editing])


@contextlib.contextmanager
def _api_server(folder: Path) -> Iterator[tuple[ControlPlane, AuditLog]]:
    policy, log = folder / "audit-policy.json", folder / "audit.log"
    policy.write_text(json.dumps(POLICY))
    log.touch()
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={log}")
    with ControlPlane(flags=flags) as plane:
        install(plane.kubeconfig)
        yield plane, AuditLog(log)


@contextlib.contextmanager
def _registry(folder: Path) -> Iterator[str]:
    registry = folder / "mlflow"
    registry.mkdir()
    with mlflow_server(registry) as url:
        yield url


async def _operators_kubeconfig(admin: Admin, plane: ControlPlane, folder: Path) -> Path:
    """By a token of the chart's service account."""
    namespace, name = role.account().split(":")[2:]
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 24 * 60 * 60},
    }
    token = (await admin.call("POST", path, request))["status"]["token"]
    body = json.loads(plane.kubeconfig.read_text())
    body["users"][0]["user"] = {"token": token}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(body))
    return kubeconfig


def _operator(
    pod: str, kubeconfig: Path, tracking_uri: str, lease_seconds: int, module: str
) -> Operator:
    (port,) = free_ports(1)
    settings = {
        "CV_FACTORY_HEALTH_PORT": str(port),
        "CV_FACTORY_LEASE_SECONDS": str(lease_seconds),
        "CV_FACTORY_LEASE_NAMESPACE": role.RELEASE_NAMESPACE,
        "CV_FACTORY_LEASE_NAME": LEASE,
        "CV_FACTORY_POD_NAME": pod,
    }
    log = kubeconfig.parent / f"{pod}.log"
    process = OperatorProcess(kubeconfig, tracking_uri, log, interpreter(module), settings)
    return Operator(pod, process, port)


async def _create_resources(admin: Admin) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await admin.call("POST", "/api/v1/namespaces", namespace)
    for number in range(RESOURCES):
        name = f"cats-dogs-{number}"
        body: dict[str, Any] = {
            "apiVersion": api.API_VERSION,
            "kind": api.KIND,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"model": {"uri": "models:/cats-dogs/1"}, "replicas": 1},
        }
        path = f"/apis/{api.API_VERSION}/namespaces/{NAMESPACE}/{api.PLURAL}"
        await admin.call("POST", path, body)
