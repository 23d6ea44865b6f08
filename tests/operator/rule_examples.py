"""Good and bad resources for every rule: what the tests of CEL, of Python and of a server share."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from model_operator import api, rules, validation
from model_operator.rules import Rule

Json = dict[str, Any]
URI = "models:/cats-dogs/1"


@dataclass(frozen=True)
class Examples:
    """Resources that keep one rule, and resources that break it and no other."""

    path: str
    words: str
    """From the rule's sentence; with the path they name one rule."""
    good: tuple[Json, ...]
    bad: tuple[Json, ...]

    def rule(self) -> Rule:
        (found,) = (
            rule for rule in rules.ALL if rule.path == self.path and self.words in rule.sentence
        )
        return found


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


SHA256 = "0123456789abcdef" * 4
PLAIN = resource()
CANARY = weights(10, 50)
ERROR_RATE = {"name": "error-rate", "max": 0.1}
LATENCY = {"name": "latency-p95-ms", "max": 300}
PROMETHEUS = {"query": "sum(up)"}

URIS = (
    URI,
    "models:/cats and dogs/12",
    "models:/cats-dogs@champion",
    "runs:/0a1b/model",
    "s3://bucket/models/7",
    "https://example.com/model.tar",
    "https://example.com:8443/a?b=c",
    "pvc://models/cats-dogs/1",
)
BAD_URIS = (
    "models:/cats-dogs",
    "models:/cats-dogs/",
    "models:/cats-dogs/latest",
    "models:/cats-dogs/0",
    "models:/cats-dogs/1\n",
    "models:/cats-dogs/1/2",
    "models:/cats-dogs@",
    "models:/@champion",
    "models://cats-dogs/1",
    "runs:/0a1b",
    "s3://bucket",
    "https://",
    "http://example.com/model",
    "pvc://Models/x",
    "ftp://m",
    "cats-dogs",
    " models:/cats-dogs/1",
)

EXAMPLES = (
    Examples(
        "",
        "metadata.name",
        (PLAIN, resource("a"), resource("a" * 50), resource("a-1")),
        (
            resource("a" * 51),
            resource("1a"),
            resource("a.b"),
            resource("9"),
        ),
    ),
    Examples(
        "spec",
        "progressDeadlineSeconds",
        (
            PLAIN,
            resource(minReadySeconds=10, progressDeadlineSeconds=11),
            resource(minReadySeconds=599),
        ),
        (
            resource(minReadySeconds=10, progressDeadlineSeconds=10),
            resource(minReadySeconds=600),
        ),
    ),
    Examples(
        "spec.autoscaling",
        "minReplicas",
        (
            PLAIN,
            resource(autoscaling={"minReplicas": 2, "maxReplicas": 2}),
            resource(autoscaling={"maxReplicas": 1}),
        ),
        (resource(autoscaling={"minReplicas": 3, "maxReplicas": 2}),),
    ),
    Examples(
        "spec.model.uri",
        "must be models:/",
        tuple(model(uri) for uri in URIS),
        tuple(model(uri) for uri in BAD_URIS),
    ),
    Examples(
        "spec.model.uri",
        "a password",
        (PLAIN, model("models:/cats-dogs@champion"), model("https://example.com/a@b")),
        (model("https://me:secret@example.com/model"), model("s3://key@bucket/model")),
    ),
    Examples(
        "spec.model.uri",
        ". or ..",
        (PLAIN, model("pvc://models/a..b/.hidden/c."), model("s3://bucket/a/...")),
        (
            model("pvc://models/../other"),
            model("pvc://models/a/.."),
            model("https://example.com/./model"),
        ),
    ),
    Examples(
        "spec.model.sha256",
        "hexadecimal",
        (PLAIN, model(sha256=SHA256), model(sha256="")),
        (
            model(sha256="abc"),
            model(sha256=SHA256.upper()),
            model(sha256=SHA256[:63] + "\n"),
        ),
    ),
    Examples(
        "spec.model",
        "pins one version",
        (
            model(sha256=SHA256),
            model("models:/cats-dogs@champion", sha256=SHA256),
            model("models:/cats-dogs@champion", updatePolicy="FollowAlias"),
            model("models:/cats-dogs@champion", updatePolicy="FollowAlias", sha256=""),
        ),
        (model("models:/cats-dogs@champion", updatePolicy="FollowAlias", sha256=SHA256),),
    ),
    Examples(
        "spec.model",
        "needs an alias",
        (PLAIN, model("models:/cats-dogs@champion", updatePolicy="FollowAlias")),
        (
            model(updatePolicy="FollowAlias"),
            model("pvc://claim/a@b", updatePolicy="FollowAlias"),
        ),
    ),
    Examples(
        "spec.model",
        "tags of a registered version",
        (
            PLAIN,
            model("s3://bucket/model"),
            model(requiredTags={"validation": "passed"}),
        ),
        (model("s3://bucket/model", requiredTags={"validation": "passed"}),),
    ),
    Examples(
        "spec.model",
        "registry is an MLflow server",
        (
            model("s3://bucket/model"),
            model("s3://bucket/model", registry=""),
            model(registry="http://mlflow.ml:5000"),
            model("runs:/0a1b/model", registry="http://mlflow.ml:5000"),
        ),
        (model("s3://bucket/model", registry="http://mlflow.ml:5000"),),
    ),
    Examples(
        "spec.model.registry",
        "address of an MLflow server",
        (
            PLAIN,
            model(registry=""),
            model(registry="http://mlflow.ml:5000"),
            model(registry="https://example.com/mlflow/"),
        ),
        (
            model(registry="mlflow:5000"),
            model(registry="http://"),
            model(registry="sqlite:///mlflow.db"),
            model(registry="https://me:secret@example.com"),
            model(registry="https://example.com/?a=b"),
        ),
    ),
    Examples(
        "spec.server.env[]",
        "set by the operator",
        (PLAIN, env(), env("OMP_NUM_THREADS", "MODEL"), env("port")),
        (*(env(name) for name in sorted(api.RESERVED_ENVIRONMENT)), env("A", "PORT")),
    ),
    Examples(
        "spec.server.env",
        "variable must have a name",
        (env("A", "B", "C"), env("A", "a")),
        (env("A", "B", "A"),),
    ),
    Examples(
        "spec.server.volumes[]",
        "taken",
        (PLAIN, volumes("data", "model")),
        (volumes("models"), volumes("data", "tmp")),
    ),
    Examples(
        "spec.server.volumes",
        "volume must have a name",
        (volumes("a", "b", "c"),),
        (volumes("a", "b", "a"),),
    ),
    Examples(
        "spec.server.volumeMounts[]",
        "absolute path",
        (mounted("/data", "/var/lib/my data", "/.cache/..a/b."),),
        (
            mounted("data"),
            mounted("/"),
            mounted("/data/"),
            mounted("//data"),
            mounted("/data/../models"),
            mounted("/data/."),
            mounted("./data"),
        ),
    ),
    Examples(
        "spec.server.volumeMounts[]",
        "operator's own",
        (mounted("/model", "/modelsx", "/tmp2", "/data/tmp", "/data/models/tmp"),),
        (mounted("/models"), mounted("/models/mine"), mounted("/data", "/tmp"), mounted("/tmp/a")),
    ),
    Examples(
        "spec.server.volumeMounts",
        "mountPath of its own",
        (mounted("/a", "/b", "/a/b"),),
        (mounted("/a", "/b", "/a"),),
    ),
    Examples(
        "spec.server",
        "name one of volumes",
        (PLAIN, volumes("unused"), mounted("/a", "/b"), server(volumeMounts=[])),
        (
            server(volumeMounts=[{"name": "data", "mountPath": "/data"}]),
            server(
                volumes=[{"name": "data", "emptyDir": {}}],
                volumeMounts=[{"name": "dada", "mountPath": "/data"}],
            ),
        ),
    ),
    Examples(
        "spec.server.podLabels",
        "operator's",
        (
            server(podLabels={}),
            server(podLabels={"team": "vision", "app.kubernetes.io/version": "1"}),
        ),
        (
            server(podLabels={"cvfactory.dev/revision": "x"}),
            server(podLabels={"team": "vision", "app.kubernetes.io/name": "x"}),
            server(podLabels={"app.kubernetes.io/managed-by": "Helm"}),
            server(podLabels={"app.kubernetes.io/instance": "x"}),
        ),
    ),
    Examples(
        "spec.strategy",
        "canary belongs to",
        (PLAIN, CANARY),
        (
            strategy("Standard", canary={"steps": [{"setWeight": 10}]}),
            strategy("Shadow", canary={"steps": [{"setWeight": 10}]}),
        ),
    ),
    Examples(
        "spec.strategy",
        "blueGreen belongs to",
        (PLAIN, strategy("BlueGreen"), strategy("BlueGreen", blueGreen={"autoPromote": True})),
        (
            strategy("Recreate", blueGreen={}),
            resource(strategy={"blueGreen": {"autoPromote": True}}),
        ),
    ),
    Examples(
        "spec.strategy",
        "shadow belongs to",
        (PLAIN, strategy("Shadow"), strategy("Shadow", shadow={"percent": 5})),
        (strategy("BlueGreen", shadow={}), strategy("Standard", shadow={"minSamples": 5})),
    ),
    Examples("spec.strategy", "type Canary needs canary", (PLAIN, CANARY), (strategy("Canary"),)),
    Examples(
        "spec.strategy.canary.steps[]",
        "either setWeight or pause",
        (
            CANARY,
            steps({"setWeight": 10}, {"pause": {}}, {"pause": {"duration": "5m"}}),
        ),
        (
            steps({"setWeight": 10, "pause": {}}),
            steps({}),
            steps({"setWeight": 10}, {}),
        ),
    ),
    Examples(
        "spec.strategy.canary.steps",
        "larger than the one before",
        (
            weights(1),
            weights(1, 2, 100),
            weights(9, 10),
            steps({"pause": {}}),
            steps({"setWeight": 5}, {"pause": {}}, {"setWeight": 50}),
        ),
        (
            weights(50, 10),
            weights(10, 10),
            weights(10, 50, 20),
            steps({"setWeight": 5}, {"pause": {}}, {"setWeight": 5}),
        ),
    ),
    Examples(
        "spec.strategy.canary.steps[].pause.duration",
        "unit",
        (
            steps({"pause": {}}),
            *(steps({"pause": {"duration": text}}) for text in ("1s", "30s", "5m", "99999h")),
        ),
        tuple(
            steps({"pause": {"duration": text}})
            for text in ("", "5", "0s", "05m", "5 m", "5min", "-5m", "1.5h", "5M", "2d", "5m\n")
        ),
    ),
    Examples(
        "spec",
        "needs strategy",
        (PLAIN, analysis(), analysis(kind="BlueGreen"), analysis(kind="Shadow")),
        (analysis(kind="Standard"), analysis(kind="Recreate")),
    ),
    Examples(
        "spec.analysis.interval",
        "unit",
        (analysis(), analysis(interval="1m")),
        (analysis(interval="60"), analysis(interval="0m")),
    ),
    Examples(
        "spec.analysis.metrics",
        "name of its own",
        (analysis(ERROR_RATE, LATENCY, {"name": "mine", "max": 1, "prometheus": PROMETHEUS}),),
        (analysis(ERROR_RATE, LATENCY, ERROR_RATE),),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "needs a limit",
        (
            analysis({"name": "error-rate", "max": 0}),
            analysis({"name": "latency-p95-ms", "maxRatioToStable": 1.5}),
            analysis({"name": "mine", "min": 0.9, "prometheus": PROMETHEUS}),
        ),
        (
            analysis({"name": "error-rate"}),
            analysis({"name": "mine", "prometheus": PROMETHEUS}),
        ),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "no value passes",
        (
            analysis(ERROR_RATE),
            analysis({"name": "mine", "min": 0.9, "prometheus": PROMETHEUS}),
            analysis({"name": "latency-p95-ms", "min": 1, "max": 300}),
            analysis({"name": "latency-p95-ms", "min": 300, "max": 300.0}),
        ),
        (analysis({"name": "latency-p95-ms", "min": 301, "max": 300.5}),),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "built in",
        (
            *(analysis({"name": name, "max": 1}) for name in sorted(api.BUILT_IN_METRICS)),
            analysis({"name": "mine", "max": 1, "prometheus": PROMETHEUS}),
            analysis({"name": "error-rate", "max": 1, "prometheus": PROMETHEUS}),
        ),
        (analysis({"name": "mine", "max": 1}), analysis({"name": "latency-p95", "max": 1})),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "not percent",
        (
            analysis({"name": "error-rate", "min": 0, "max": 1}),
            analysis({"name": "error-rate", "max": 0}),
            analysis({"name": "error-rate", "min": 1}),
            analysis({"name": "error-rate", "maxRatioToStable": 2}),
            analysis({"name": "error-rate", "max": 5, "prometheus": PROMETHEUS}),
            analysis({"name": "latency-p95-ms", "max": 300}),
        ),
        (
            analysis({"name": "error-rate", "max": 5}),
            analysis({"name": "error-rate", "max": 1.01}),
            analysis({"name": "error-rate", "max": 0.5, "min": -0.1}),
        ),
    ),
    Examples(
        "spec.traffic",
        "gateway belongs to",
        (PLAIN, traffic(provider="Router"), gateway()),
        (
            traffic(provider="Service", gateway={"parentRefs": [{"name": "front"}]}),
            traffic(gateway={"parentRefs": [{"name": "front"}]}),
            traffic(provider="Router", gateway={"parentRefs": [{"name": "front"}]}),
        ),
    ),
    Examples(
        "spec.traffic",
        "provider GatewayAPI needs gateway",
        (PLAIN, gateway()),
        (traffic(provider="GatewayAPI"),),
    ),
    Examples(
        "spec.traffic.gateway.hostnames[]",
        "host name",
        (gateway(), gateway(hostnames=["cats.example.com", "*.example.com", "a", "1.2"])),
        (
            gateway(hostnames=["https://cats.example.com"]),
            gateway(hostnames=["cats.example.com", "Cats.example.com"]),
            gateway(hostnames=["cats.*.com"]),
            gateway(hostnames=["-a.com"]),
            gateway(hostnames=["a.com."]),
        ),
    ),
    *(
        Examples("spec.strategy", words, (PLAIN, strategy("Recreate")), (bad,))
        for words, bad in (
            ("type Canary is not supported", CANARY),
            ("type BlueGreen is not supported", strategy("BlueGreen")),
            ("type Shadow is not supported", strategy("Shadow")),
        )
    ),
    Examples("spec", "analysis is not supported", (PLAIN,), (analysis(),)),
    Examples(
        "spec",
        "autoscaling is not supported",
        (PLAIN,),
        (resource(autoscaling={"maxReplicas": 3}),),
    ),
    Examples(
        "spec.traffic",
        "provider Router is not supported",
        (PLAIN, traffic(provider="Service")),
        (traffic(provider="Router"),),
    ),
    Examples("spec.traffic", "provider GatewayAPI is not supported", (PLAIN,), (gateway(),)),
    Examples(
        "spec.model",
        "FollowAlias is not supported",
        (PLAIN, model("models:/cats-dogs@champion", updatePolicy="Pinned")),
        (model("models:/cats-dogs@champion", updatePolicy="FollowAlias"),),
    ),
    Examples(
        "spec.model",
        "requiredTags is not supported",
        (PLAIN,),
        (model(requiredTags={"validation": "passed"}),),
    ),
    Examples(
        "spec.model",
        "registry is not supported",
        (PLAIN, model(registry="")),
        (model(registry="http://mlflow.ml:5000"),),
    ),
    *(
        Examples("spec.model.uri", f"{scheme} is not supported", (PLAIN,), (model(bad),))
        for scheme, bad in (
            ("runs:/", "runs:/0a1b/model"),
            ("s3://", "s3://bucket/model"),
            ("https://", "https://example.com/model"),
            ("pvc://", "pvc://claim/model"),
        )
    ),
)
