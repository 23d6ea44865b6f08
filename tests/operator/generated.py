"""Specs made by hypothesis from the CRD's own schema: every field, in and out of its bounds.

What a schema cannot know is given by name: URIs that name something, quantities, fragments of
pods. A spec that comes out may be good or bad; `validation` says which.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from model_operator import api, crd
from tests.operator.builders import digest_of

NAMES = st.sampled_from(["a", "cache", "models", "x-1", ""])

STEPS = [
    {"setWeight": 10},
    {"pause": {"duration": "10s"}},
    {"setWeight": 60},
    {"pause": {"duration": "5s"}},
]
BY_PATH: dict[str, SearchStrategy[Any]] = {
    "model": st.sampled_from(
        [
            *({"uri": f"models:/cats-dogs/{n}"} for n in (1, 2, 3)),
            {"uri": "models:/cats-dogs/2", "sha256": digest_of(2)},
            {"uri": "models:/cats-dogs@champion", "sha256": digest_of(1)},
            {"uri": "s3://bucket/model/", "sha256": digest_of(12)},
            {"uri": "s3://bucket/model/"},
            {},
        ]
    ),
    "server.env": st.lists(
        st.sampled_from(
            [
                {"name": "A", "value": "1"},
                {"name": "B", "value": "2"},
                {"name": "MODEL_PATH", "value": "mine"},
            ]
        ),
        max_size=2,
    ),
    "server.image": st.sampled_from(["example/server:1", "example/server:2"]),
    "server.resources": st.sampled_from(
        [{"limits": {"cpu": "500m"}}, {"requests": {"memory": "1Gi"}}, {}]
    ),
    "server.affinity": st.just({}),
    "server.tolerations[]": st.just({"key": "gpu", "operator": "Exists"}),
    "server.topologySpreadConstraints[]": st.just(
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ),
    "server.envFrom[]": st.just({"configMapRef": {"name": "settings"}}),
    "server.volumes[]": st.builds(lambda name: {"name": name, "emptyDir": {}}, NAMES),
    "server.volumeMounts[]": st.builds(
        lambda name, path: {"name": name, "mountPath": path},
        NAMES,
        st.sampled_from(["/cache", "/models", "/data"]),
    ),
    "server.podLabels": st.dictionaries(st.sampled_from(["team", "tier"]), NAMES, max_size=2),
    "server.podAnnotations": st.dictionaries(st.sampled_from(["note", "x/y"]), NAMES, max_size=2),
    "traffic.service.annotations": st.dictionaries(st.sampled_from(["lb", "dns"]), NAMES),
    # Those that come to their end by themselves, and some that are not valid.
    "strategy": st.builds(
        lambda strategy, delay: {**strategy, "scaleDownDelaySeconds": delay},
        st.sampled_from(
            [
                {},
                {"type": "Standard"},
                {"type": "Recreate"},
                {"type": "BlueGreen", "blueGreen": {"autoPromote": True}},
                {"type": "Canary", "canary": {"steps": STEPS}},
                {"type": "Canary", "canary": {"steps": STEPS[::-1]}},
                {"type": "Canary"},
                {"type": "Shadow", "shadow": {"percent": 101}},
            ]
        ),
        st.sampled_from([19, 20, 30, 60]),
    ),
    # The small world has no Gateway.
    "traffic.provider": st.sampled_from(["Service", "Router"]),
    "replicas": st.integers(0, 4),
    "paused": st.just(value=False),
    "scaleDownDelaySeconds": st.integers(20, 60),
}
RARE = {"autoscaling", "analysis", "requiredTags", "registry", "updatePolicy", "paused"}
"""In the way of comparing ends, or seldom valid beside the rest: specs go without."""


def specs() -> SearchStrategy[dict[str, Any]]:
    """Specs of ModelDeployments as a user may write them; about one in three is not valid."""
    schema = crd.schema_of(api.ModelDeploymentSpec)
    return _values(schema, "") | _values(schema, "").flatmap(_with_one_mistake)


def _with_one_mistake(spec: dict[str, Any]) -> SearchStrategy[dict[str, Any]]:
    mistakes = [
        {"replicas": -1},
        {"strategy": {"type": "Magic"}},
        {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
        {"server": {"drainSeconds": "long"}},
        {"traffic": {"service": {"type": "Nonsense"}}},
        {"nonsense": True},
        {"model": {"uri": "ftp://model"}},
        {"progressDeadlineSeconds": 0},
    ]
    return st.sampled_from(mistakes).map(lambda mistake: {**spec, **mistake})


def _values(schema: dict[str, Any], path: str) -> SearchStrategy[Any]:
    """What a schema allows, mostly."""
    if (given := BY_PATH.get(path)) is not None:
        return given
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    low, high = schema.get("minimum", 0), schema.get("maximum", 1000)
    of_type = {
        "object": lambda: _objects(schema, path),
        "array": lambda: st.lists(_values(schema["items"], f"{path}[]"), max_size=2),
        "integer": lambda: st.integers(low, min(high, low + 100)) | st.just(high),
        "number": lambda: st.floats(low, high),
        "boolean": st.booleans,
        "string": lambda: st.sampled_from(["x", "30s", "a-name"]),
    }
    return of_type[schema["type"]]()


def _objects(schema: dict[str, Any], path: str) -> SearchStrategy[dict[str, Any]]:
    required, optional = {}, {}
    for name, member in schema.get("properties", {}).items():
        below = _values(member, f"{path}.{name}".removeprefix("."))
        if name in schema.get("required", ()):
            required[name] = below
        elif name not in RARE:
            optional[name] = below
    return st.fixed_dictionaries(required, optional=optional)
