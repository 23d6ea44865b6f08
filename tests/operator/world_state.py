"""What the small world of the tests holds, and what can be asked of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from model_operator import actions, autoscaling, naming, observe, resolving, sources
from model_operator.api import ModelSource
from model_operator.clients.registry import unregistered
from model_operator.diagnosis import is_ready
from model_operator.errors import ResolutionError
from model_operator.measurement import Measurement
from model_operator.observed import Defaults, Observed, Resolution, Resource, Unverified
from model_operator.revisions import ResolvedModel, Undigested
from model_operator.rollout import comparison
from model_operator.route import Route
from model_operator.traffic.service import SERVICE
from tests.operator.builders import ModelDeploymentBuilder, digest_of
from tests.operator.world_resolver import WorldResolver
from tests.operator.world_router import WorldRouter, document, route_of

DEFAULTS = Defaults(
    server_image="example/server:1",
    tracking_uri="http://mlflow:5000",
    router_image="example/router:1",
)


def copied(body: Any) -> Any:
    """A copy of something that is JSON; several times faster than a deep copy of anything."""
    return json.loads(json.dumps(body))


class WorldState:
    """Everything that there is at one time."""

    def __init__(self, resource: ModelDeploymentBuilder) -> None:
        self.resource = resource.build()
        self.defaults = DEFAULTS
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.deployments: dict[str, dict[str, Any]] = {}
        self.histories: dict[str, dict[str, Any]] = {}
        self.service: dict[str, Any] | None = None
        self.others: dict[tuple[str, str], dict[str, Any]] = {}
        """By kind and name: what else the operator has written."""
        self.router = WorldRouter(self.resource["metadata"]["name"])
        self.resolver = WorldResolver()
        self.pods: dict[str, dict[str, Any]] = {}
        self.ended: list[dict[str, Any]] = []
        """Pods that were evicted: no controller counts them, and nobody deletes them."""
        self.foreign: list[dict[str, Any]] = []
        self.resolution_error: ResolutionError | None = None
        self.registered_digest: str | None = None
        """What the registry says now, whatever the version; None: a digest for each version."""
        self.champion = 1
        """The version that the alias champion names."""
        self.unregistered_digests: set[str] = set()
        """Versions without a digest in the registry."""
        self.container: Callable[[str], dict[str, Any] | None] = lambda revision: None
        self.refuse: Callable[[dict[str, Any]], bool] = lambda body: False
        """Children that the API server does not accept."""
        self.endpoint_lags = False
        """The endpoint does not list its pods yet."""
        self.measurement: Measurement | None = None
        """What is found at every look; None: there is nothing new."""
        self.events: list[str] = []
        self.writes: list[str] = []
        self._serial = 0

    # --- what the operator sees ------------------------------------------------------------------

    def observed(self) -> Observed:
        resource = observe.read_resource(copied(self.resource))
        resolution: Resolution | Unverified | ResolutionError | None = None
        if resource.spec is not None and not resource.invalid:
            resolution = self._resolution(resource)
        ready = [pod["metadata"] for pod in self.serving_pods() if is_ready(pod)]
        listed = [] if self.endpoint_lags else ready
        addresses = [{"targetRef": {"name": metadata["name"]}} for metadata in listed]
        observed = observe.assemble(
            resource=resource,
            defaults=self.defaults,
            resolution=resolution,
            children=copied(
                [
                    *self.deployments.values(),
                    *self.histories.values(),
                    *([self.service] if self.service else []),
                    *self.others.values(),
                    *self.foreign,
                ]
            ),
            pods=copied(
                [
                    *self.pods.values(),
                    *self.ended,
                    *self.router.pods.values(),
                    *self.resolver.pods.values(),
                ]
            ),
            router_answers=self.router.answers(),
            served={"PodDisruptionBudget": "v1", autoscaling.KIND: "v2"},
            endpoints={"subsets": [{"addresses": addresses}]} if self.service else None,
        )
        return replace(observed, measurement=self._measured(resource))

    def _measured(self, resource: Resource) -> Measurement | None:
        """As `Measurer` gives it: only while two revisions are compared."""
        if resource.spec is None or self.measurement is None:
            return None
        compared = comparison.compared(resource.spec, resource.status)
        return replace(self.measurement, until=self.now) if compared else None

    def _resolution(self, resource: Resource) -> Resolution | Unverified | ResolutionError:
        """As `resolving.resolve` does it, with a registry that knows every version."""
        assert resource.spec is not None
        requested = resource.spec.model
        known = resolving.known_model(resource, requested, self.histories.values())
        asked = actions.wants_resolving(resource.body, resource.status)
        if known and not asked and not resolving.follows(requested):
            return known
        found = self.resolution_error or self._resolved(requested)
        return resolving.answer(requested, known, asked, found)

    def _resolved(self, source: ModelSource) -> ResolvedModel | Undigested:
        if not sources.is_registered(source.uri):
            return unregistered(source)
        aliased = source.uri.replace("@champion", f"/{self.champion}")
        version = aliased.rsplit("/", 1)[1]
        if version in self.unregistered_digests and not source.sha256:
            return Undigested(aliased, version)
        digest = source.sha256 or self.registered_digest or digest_of(version)
        return ResolvedModel(aliased, version, digest)

    # --- questions -------------------------------------------------------------------------------

    @property
    def status(self) -> dict[str, Any]:
        return self.resource["status"]

    def condition(self, kind: str) -> tuple[str, str]:
        (found,) = (c for c in self.status["conditions"] if c["type"] == kind)
        return found["status"], found["reason"]

    def serving(self) -> str | None:
        """The stable revision, by the endpoint."""
        route = self.route()
        return route.stable if route else None

    def route(self) -> Route | None:
        """By what is written, or where that is lost by what is held; None where clients are sent
        nowhere.
        """
        if self.routed():
            held = self.router.held()
            lost = held[0] if held else None
            return route_of(document(self._of_router("ConfigMap"))) or lost
        return SERVICE.read(self.observed()).route if self.service else None

    def routed(self) -> bool:
        """Whether clients are sent to the router."""
        return bool(self.service and self.service["spec"]["selector"] == self.router.selector)

    def _of_router(self, kind: str) -> dict[str, Any] | None:
        return self.others.get((kind, self.router.name))

    def weights_by_version(self) -> dict[str | None, int]:
        route = self.route()
        weights = route.weights if route else {}
        return {self.version_of(revision): weight for revision, weight in weights.items()}

    def serving_version(self) -> str | None:
        return self.version_of(self.serving())

    def version_of(self, revision: str | None) -> str | None:
        return next(
            (
                history["data"]["version"]
                for history in self.histories.values()
                if history["metadata"]["labels"][naming.REVISION_LABEL] == revision
            ),
            None,
        )

    def version_revision(self, version: str) -> str:
        """The revision of a version that has a record."""
        return next(
            history["metadata"]["labels"][naming.REVISION_LABEL]
            for history in self.histories.values()
            if history["data"]["version"] == version
        )

    def replicas_by_version(self) -> dict[str | None, int]:
        return {
            self.version_of(deployment["metadata"]["labels"][naming.REVISION_LABEL]): deployment[
                "spec"
            ]["replicas"]
            for deployment in self.deployments.values()
        }

    def pods_of(self, revision: str) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.pods.values()
            if pod["metadata"]["labels"][naming.REVISION_LABEL] == revision
        ]

    def serving_pods(self) -> list[dict[str, Any]]:
        """The pods that the endpoint selects."""
        selector = self.service["spec"]["selector"] if self.service else {"no": "endpoint"}
        return [
            pod
            for pod in [
                *self.pods.values(),
                *self.router.pods.values(),
                *self.resolver.pods.values(),
            ]
            if selector.items() <= pod["metadata"]["labels"].items()
        ]

    def budgets(self) -> dict[str, dict[str, str]]:
        """What each PodDisruptionBudget selects, by its name."""
        return {
            name: body["spec"]["selector"]["matchLabels"]
            for (kind, name), body in self.others.items()
            if kind == "PodDisruptionBudget"
        }

    def _autoscaler(self) -> dict[str, Any] | None:
        return self.others.get((autoscaling.KIND, self.resource["metadata"]["name"]))

    def _autoscaled(self) -> dict[str, Any] | None:
        """The Deployment that the autoscaler sizes."""
        autoscaler = self._autoscaler()
        name = autoscaler["spec"]["scaleTargetRef"]["name"] if autoscaler else ""
        return self.deployments.get(name)

    def _asked_for(self) -> Any:
        """How many pods what serves must have."""
        autoscaled = self.resource.get("status", {}).get("autoscaled")
        serving = self.deployments.get(f"{self.resource['metadata']['name']}-{self.serving()}")
        replicas = self.resource["spec"].get("replicas", 1)
        if autoscaled and serving and self._autoscaler():
            return serving["spec"]["replicas"]
        if autoscaled and serving and autoscaled["requested"] == replicas:
            return autoscaled.get("held", replicas)
        limits = self.resource["spec"].get("autoscaling")
        if limits and limits.get("minReplicas", 1) <= limits["maxReplicas"]:
            return min(max(replicas, limits.get("minReplicas", 1)), limits["maxReplicas"])
        return replicas
