"""Builders of the resources that are examples, each named for the field that it fills in."""

from __future__ import annotations

import copy
from typing import Any

from model_operator import api, validation
from tests.operator.rule_examples.examples import Json

URI = "models:/cats-dogs/1"


def resource(name: str = "cats-dogs", **spec: Any) -> Json:
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "metadata": {"name": name},
        "spec": {"model": {"uri": URI}, **copy.deepcopy(spec)},
    }


def served(resource: Json) -> Json:
    """What rules see of it: defaults filled in."""
    spec = api.ModelDeploymentSpec.model_validate(resource["spec"])
    return validation.as_served(resource["metadata"]["name"], spec)


def model(uri: str = URI, **fields: Any) -> Json:
    return resource(model={"uri": uri, **fields})


def server(**fields: Any) -> Json:
    return resource(server=fields)


def env(*names: str) -> Json:
    return server(env=[{"name": name, "value": "1"} for name in names])


def volumes(*names: str) -> Json:
    return server(volumes=[{"name": name, "emptyDir": {}} for name in names])


def mounted(*paths: str) -> Json:
    return server(
        volumes=[{"name": "data", "emptyDir": {}}],
        volumeMounts=[{"name": "data", "mountPath": path} for path in paths],
    )


def strategy(kind: str, **fields: Any) -> Json:
    return resource(strategy={"type": kind, **fields})


def steps(*given: Json) -> Json:
    return strategy("Canary", canary={"steps": list(given)})


def weights(*given: int) -> Json:
    return steps(*({"setWeight": weight} for weight in given))


def analysis(*metrics: Json, kind: str = "Canary", **fields: Any) -> Json:
    how = {"type": kind} | ({"canary": {"steps": [{"setWeight": 10}]}} if kind == "Canary" else {})
    judged = list(metrics) or [ERROR_RATE]
    return resource(strategy=how, analysis={"metrics": judged, **fields})


def traffic(**fields: Any) -> Json:
    return resource(traffic=fields)


def gateway(**fields: Any) -> Json:
    return traffic(provider="GatewayAPI", gateway={"parentRefs": [{"name": "front"}], **fields})


def router(**fields: Any) -> Json:
    return traffic(provider="Router", router=fields)


FIELD_NAMES = {
    "sticky.header": lambda name: {"sticky": {"header": name}},
    "sticky.cookie": lambda name: {"sticky": {"cookie": name}},
    "forceHeader": lambda name: {"forceHeader": name},
}
"""What of spec.traffic.router is the name of a header or cookie."""

PLAIN = resource()
CANARY = weights(10, 50)
ERROR_RATE = {"name": "error-rate", "max": 0.1}
LATENCY = {"name": "latency-p95-ms", "max": 300}
PROMETHEUS = {"query": "sum(up)"}
