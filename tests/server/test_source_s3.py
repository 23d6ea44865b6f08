"""Fetching from S3: moto's own server on the loopback, and servers that answer badly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from model_server.artifact import digest
from tests.server.fetching import Fetching, free_port, tar_of, zip_of
from tests.server.file_server import in_turn, serving, status

BUCKET = "models"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, fetching: Fetching) -> Iterator[Any]:
    fetching.set(
        AWS_ENDPOINT_URL_S3=endpoint, AWS_ACCESS_KEY_ID="me", AWS_SECRET_ACCESS_KEY="secret"
    )
    bucket = boto3.resource("s3").Bucket(BUCKET)
    bucket.create()
    yield bucket
    bucket.objects.delete()
    bucket.delete()


def upload(bucket: Any, artifact: Path, prefix: str) -> None:
    for path in artifact.iterdir():
        bucket.put_object(Key=f"{prefix}{path.name}", Body=path.read_bytes())


@pytest.mark.parametrize("prefix", ["", "cats dogs/3+1/"])
def test_every_object_below_a_prefix_is_fetched(
    bucket: Any, artifact: Path, fetching: Fetching, prefix: str
):
    upload(bucket, artifact, prefix)
    if prefix:
        bucket.put_object(Key=prefix, Body=b"")  # the folder that a console makes
        bucket.put_object(Key="cats dogs/3+10", Body=b"another")
    assert fetching(f"s3://{BUCKET}/{prefix}", digest(artifact)) == 0
    assert digest(fetching.out) == digest(artifact)


def test_objects_in_folders_below_the_prefix_keep_their_place(
    bucket: Any, artifact: Path, fetching: Fetching
):
    upload(bucket, artifact, "m/")
    bucket.put_object(Key="m/notes/README", Body=b"read")
    assert fetching.resolve(f"s3://{BUCKET}/m/") == 0
    assert fetching.resolved["files"] == 3
    assert fetching(f"s3://{BUCKET}/m/", fetching.resolved["sha256"]) == 0
    assert (fetching.out / "notes" / "README").read_bytes() == b"read"


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_an_archive_is_fetched_and_unpacked(
    bucket: Any, artifact: Path, fetching: Fetching, suffix: str
):
    content = zip_of(artifact, "m") if suffix == ".zip" else tar_of(artifact)
    bucket.put_object(Key=f"a/m{suffix}", Body=content)
    assert fetching(f"s3://{BUCKET}/a/m{suffix}", digest(artifact)) == 0


@pytest.mark.parametrize(
    "key", ["m/../../escape", "m//etc/passwd", "m/./model.json", "m/a\\b", "m/x/"]
)
def test_a_key_that_leads_out_of_the_folder_ends_with_3(
    bucket: Any, artifact: Path, fetching: Fetching, key: str
):
    upload(bucket, artifact, "m/")
    bucket.put_object(Key=key, Body=b"out")
    assert fetching(f"s3://{BUCKET}/m/") == 3
    assert "which is no path below a folder" in fetching.message
    assert fetching.left == []


def test_a_missing_object_or_bucket_or_an_empty_prefix_ends_with_4(bucket: Any, fetching: Fetching):
    assert fetching(f"s3://{BUCKET}/m.tgz") == 4
    assert "is not there (NoSuchKey)" in fetching.message
    assert fetching("s3://no-such-bucket/m/") == 4
    assert "is not there (NoSuchBucket)" in fetching.message
    assert fetching(f"s3://{BUCKET}/nothing/") == 4
    assert "holds no object" in fetching.message


def test_more_bytes_than_the_limit_end_with_3_before_they_are_fetched(
    bucket: Any, artifact: Path, fetching: Fetching
):
    upload(bucket, artifact, "m/")
    fetching.set(MAX_ARTIFACT_BYTES=(artifact / "model.safetensors").stat().st_size + 1)
    assert fetching(f"s3://{BUCKET}/m/") == 3
    assert "has more than" in fetching.message


def test_no_credentials_end_with_5(bucket: Any, fetching: Fetching, tmp_path: Path):
    fetching.unset("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    fetching.set(AWS_SHARED_CREDENTIALS_FILE=tmp_path / "none", AWS_CONFIG_FILE=tmp_path / "none")
    assert fetching(f"s3://{BUCKET}/m/") == 5
    assert "There are no credentials for s3://models/m/" in fetching.message
    fetching.set(AWS_ACCESS_KEY_ID="me", AWS_SECRET_ACCESS_KEY="secret")  # to empty the bucket


def test_a_store_that_is_overloaded_for_a_moment_is_asked_again(
    bucket: Any, artifact: Path, fetching: Fetching
):
    with serving() as server:
        server.otherwise = in_turn(status(503), status(404))
        fetching.set(AWS_ENDPOINT_URL_S3=server.url)
        assert fetching(f"s3://{BUCKET}/m.tgz") == 4
        assert len(server.seen) == 2
    fetching.set(AWS_ENDPOINT_URL_S3=bucket.meta.client.meta.endpoint_url)


@pytest.mark.parametrize(
    ("uri", "endpoint_url"),
    [
        ("s3://models", ""),
        ("s3://models/model", ""),
        ("s3://Models/m/", ""),
        ("s3://key:secret@models/m/", ""),
        ("s3://models/m/", "no-url"),
    ],
)
def test_a_malformed_uri_or_endpoint_ends_with_2(fetching: Fetching, uri: str, endpoint_url: str):
    fetching.set(AWS_ENDPOINT_URL_S3=endpoint_url)
    assert fetching(uri) == 2
    assert "secret" not in fetching.message
