"""The container that the operator renders is one that the server's fetcher runs: for every source,
with the variables that a kubelet would make of it and of the Secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from mlflow import MlflowClient
from moto.server import ThreadedMotoServer

from model_operator import observe, resolver_job, resources
from model_operator.clients.registry import unregistered
from model_operator.observed import Defaults, Unverified
from model_operator.revisions import ResolvedModel, Undigested
from model_server.artifact import digest
from model_server.fetch import main
from tests.operator.builders import make_model_deployment
from tests.server.artifacts import make_artifact
from tests.server.fetching import Fetching, free_port, tar_of
from tests.server.file_server import (
    Authority,
    FileServer,
    body,
    make_authority,
    redirect,
    serving,
)

Json = dict[str, Any]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("artifact"))


@pytest.fixture
def fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetching:
    found = Fetching(tmp_path, monkeypatch)
    found.unset("FETCH_ALLOW_HTTP")
    return found


def container(model: Json, **defaults: Any) -> Json:
    """The fetching container of the revision that a source with a pin is."""
    resource = observe.read_resource(make_model_deployment().spec(model=model).build())
    assert resource.spec is not None, resource.invalid
    source = resource.spec.model
    usual: Json = {"server_image": "example/server:1", "tracking_uri": None}
    found = unregistered(source)
    assert isinstance(found, ResolvedModel)
    template = resources.pod_template(
        resource, resource.spec, found, Defaults(**(usual | defaults))
    )
    (body,) = template["spec"]["initContainers"]
    made: Json = body
    return made


def run(container: Json, fetching: Fetching, root: Path, secret: Mapping[str, str]) -> int:
    """Its exit status, with its pod's folders below `root`; `env` counts more than the Secret."""

    def here(text: str) -> str:
        for mount in container["volumeMounts"]:
            path = mount["mountPath"]
            if text.startswith(path) and mount["name"] != "tmp":
                return f"{root}{text}"
        return f"{root}{text}" if text == "/mnt/pvc" else text

    variables = {entry["name"]: here(entry["value"]) for entry in container["env"]}
    fetching.set(**secret)
    fetching.set(**variables)
    *_, module = container["command"][:3]
    assert module == "model_server.fetch"
    (root / "models").mkdir(parents=True, exist_ok=True)
    fetching.out = root / "models" / "model"
    return main([here(argument) for argument in container["command"][3:]])


def test_a_folder_of_a_claim_is_fetched(artifact: Path, fetching: Fetching, tmp_path: Path):
    folder = tmp_path / "mnt" / "pvc" / "models" / "cats-dogs" / "3"
    folder.mkdir(parents=True)
    for path in artifact.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    made = container({"uri": "pvc://models/cats-dogs/3", "sha256": digest(artifact)})
    assert run(made, fetching, tmp_path, {}) == 0
    assert digest(fetching.out) == digest(artifact)


@pytest.fixture
def store(fetching: Fetching) -> Iterator[str]:
    """An S3 endpoint."""
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_prefix_of_any_s3_endpoint_is_fetched_with_what_the_secret_says(
    artifact: Path, fetching: Fetching, store: str, tmp_path: Path
):
    secret = {
        "AWS_ENDPOINT_URL_S3": store,
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    fetching.set(**secret)
    bucket = boto3.resource("s3").Bucket("contract")
    bucket.create()
    for path in artifact.iterdir():
        bucket.put_object(Key=f"cats-dogs/3/{path.name}", Body=path.read_bytes())
    uri = "s3://contract/cats-dogs/3/"
    made = container(
        {"uri": uri, "sha256": digest(artifact), "credentialsSecretRef": {"name": "store"}}
    )
    assert made["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert run(made, fetching, tmp_path, secret) == 0
    assert digest(fetching.out) == digest(artifact)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[FileServer]:
    with serving(authority.server) as server:
        yield server


def test_an_archive_is_fetched_over_https_from_an_allowed_host_and_no_other(
    artifact: Path, fetching: Fetching, secure: FileServer, authority: Authority, tmp_path: Path
):
    secret = {"REQUESTS_CA_BUNDLE": str(authority.certificates), "FETCH_ALLOWED_HOSTS": "localhost"}
    secure.routes["/m.tgz"] = body(tar_of(artifact))
    secure.routes["/moved.tgz"] = redirect(f"https://localhost:{secure.server_port}/m.tgz")
    hosts = {"allowed_hosts": ("*.example.com", "127.0.0.1")}
    pin = digest(artifact)
    moved = container({"uri": f"{secure.url}/moved.tgz", "sha256": pin}, **hosts)
    assert run(moved, fetching, tmp_path, secret) == 2
    assert "is none of FETCH_ALLOWED_HOSTS" in fetching.message
    assert [path for path, _ in secure.seen] == ["/moved.tgz"]
    made = container({"uri": f"{secure.url}/m.tgz", "sha256": pin}, **hosts)
    assert run(made, fetching, tmp_path, secret) == 0
    assert digest(fetching.out) == pin


def test_an_artifact_of_a_run_is_fetched_from_the_registry_that_the_source_names(
    artifact: Path, fetching: Fetching, mlflow_server: str, tmp_path: Path
):
    client = MlflowClient(mlflow_server, mlflow_server)
    run_id = client.create_run("0").info.run_id
    client.log_artifacts(run_id, str(artifact), "model")
    model = {"uri": f"runs:/{run_id}/model", "sha256": digest(artifact), "registry": mlflow_server}
    made = container(model, tracking_uri="http://127.0.0.1:1")
    assert run(made, fetching, tmp_path, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}) == 0
    assert digest(fetching.out) == digest(artifact)


# --- the Job that computes a digest ------------------------------------------------------------


def job_of(model: Json) -> Json:
    resource = observe.read_resource(make_model_deployment().spec(model=model).build())
    assert resource.spec is not None, resource.invalid
    unverified = Unverified(resource.spec.model, Undigested(resource.spec.model.uri))
    defaults = Defaults(server_image="example/server:1", tracking_uri=None)
    return dict(resolver_job.build(resource, unverified, defaults, 1, None))


def what_became_of(job: Json, code: int, message: str) -> resolver_job.Outcome | None:
    """What the operator reads from the Job and its pod."""
    job["metadata"]["uid"] = "j"
    kind = "Failed" if code else "Complete"
    job["status"] = {"conditions": [{"type": kind, "status": "True"}]}
    ended = {"terminated": {"exitCode": code, "message": message}}
    pod = {
        "metadata": {"ownerReferences": [{"uid": "j"}]},
        "status": {"containerStatuses": [{"name": "fetch", "state": ended}]},
    }
    return resolver_job.outcome(job, [pod], "pvc://models/cats-dogs/3")


def test_the_job_of_a_claim_says_the_digest_that_the_operator_reads(
    artifact: Path, fetching: Fetching, tmp_path: Path
):
    folder = tmp_path / "mnt" / "pvc" / "models" / "cats-dogs" / "3"
    folder.mkdir(parents=True)
    for path in artifact.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    job = job_of({"uri": "pvc://models/cats-dogs/3"})
    (found,) = job["spec"]["template"]["spec"]["containers"]
    assert run(found, fetching, tmp_path, {}) == 0
    outcome = what_became_of(job, 0, fetching.message)
    assert outcome is not None
    assert outcome.digest == digest(artifact)


@pytest.mark.parametrize(
    ("path", "code", "reason"), [("missing", 4, "ModelMissing"), ("broken", 3, "ModelRefused")]
)
def test_the_job_of_what_is_no_artifact_says_why_and_the_operator_shows_it(
    fetching: Fetching, tmp_path: Path, path: str, code: int, reason: str
):
    (tmp_path / "mnt" / "pvc" / "models" / "broken").mkdir(parents=True)
    job = job_of({"uri": f"pvc://models/{path}"})
    (found,) = job["spec"]["template"]["spec"]["containers"]
    assert run(found, fetching, tmp_path, {}) == code
    outcome = what_became_of(job, code, fetching.message)
    assert outcome is not None
    assert (outcome.digest, outcome.reason) == (None, reason)
    assert outcome.words == fetching.message
