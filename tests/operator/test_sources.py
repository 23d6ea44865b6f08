"""Models of every source, told as stories: resolved once, shown, rolled out, gone back from."""

from __future__ import annotations

import hashlib

import pytest

from model_operator import reasons
from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment
from tests.operator.world import World

OLD = hashlib.sha256(b"old").hexdigest()
NEW = hashlib.sha256(b"new").hexdigest()
URIS = [
    "runs:/0a1b/model",
    "pvc://models/cats-dogs/3",
    "s3://models/cats-dogs/3/",
    "https://example.com/cats.tgz",
]


def pinned(uri: str, sha256: str) -> ModelDeploymentBuilder:
    return make_model_deployment().spec(model={"uri": uri, "sha256": sha256})


@pytest.mark.parametrize("uri", URIS)
def test_a_source_with_a_pin_goes_live_and_its_version_is_the_beginning_of_the_digest(uri: str):
    world = World(pinned(uri, OLD))
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert world.status["stable"]["version"] == OLD[:12]
    assert world.status["model"]["resolvedUri"] == uri
    assert world.condition("ModelResolved") == ("True", reasons.RESOLVED)
    (resolved,) = (c for c in world.status["conditions"] if c["type"] == "ModelResolved")
    assert resolved["message"] == f"{uri} is the artifact, sha256 {OLD}"


def test_another_pin_of_the_same_address_is_another_revision_and_the_old_one_can_be_gone_back_to():
    world = World(pinned(URIS[2], OLD))
    world.settle()
    world.edit(pinned(URIS[2], NEW))
    world.settle()
    assert world.serving_version() == NEW[:12]
    world.act("rollback", revision=world.version_revision(OLD[:12]))
    world.settle()
    assert world.serving_version() == OLD[:12]


def test_the_same_bytes_from_elsewhere_are_the_same_revision_and_no_pod_starts():
    world = World(pinned(URIS[2], OLD))
    world.settle()
    pods = dict(world.pods)
    world.edit(pinned(URIS[3], OLD))
    world.settle()
    assert world.pods == pods
    assert world.status["phase"] == "Healthy"


def test_a_signature_in_an_address_is_in_no_message():
    world = World(pinned("https://example.com/cats.tgz?signature=secret", OLD))
    world.settle()
    told = [world.status["message"], *(c["message"] for c in world.status["conditions"])]
    assert not [words for words in told if "secret" in words]
