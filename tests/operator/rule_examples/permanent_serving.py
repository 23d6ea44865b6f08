"""Examples for the permanent rules of what is served: the name, the model and the server."""

from __future__ import annotations

from model_operator import api
from tests.operator.rule_examples.examples import Examples
from tests.operator.rule_examples.resources import (
    PLAIN,
    URI,
    env,
    model,
    mounted,
    resource,
    server,
    volumes,
)

SHA256 = "0123456789abcdef" * 4

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

SERVING = (
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
        (volumes("models"), volumes("mirror"), volumes("data", "tmp")),
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
        (
            *(mounted("/models"), mounted("/models/mine"), mounted("/data", "/tmp")),
            *(mounted("/tmp/a"), mounted("/mirror")),
        ),
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
)
