"""Every object that the chart makes, by Kubernetes' own schemas of each version."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from unittest import mock

import kubernetes_validate
from kubernetes_validate import utils

from tests.chart.rendering import FLAGS, Body, rendered

VERSIONS = [f"1.{minor}" for minor in range(30, int(utils.latest_version().split(".")[1]) + 1)]
OTHERS = ("monitoring.coreos.com/v1",)
"""Kinds that Kubernetes' own schemas do not have."""


def distinct() -> list[Body]:
    """The objects of all flags, each once."""
    found = {json.dumps(body, sort_keys=True): body for flag in FLAGS for body in rendered(flag)}
    return [body for body in found.values() if body["apiVersion"] not in OTHERS]


@contextlib.contextmanager
def read_once() -> Iterator[None]:
    """Each schema; they are large, and the package would read one for every object."""
    cached = functools.cache(utils.schema_contents)
    with mock.patch.object(utils, "schema_contents", cached):
        yield


def refusals(version: str) -> list[str]:
    """What this Kubernetes would not take, and why."""
    found = []
    for body in distinct():
        try:
            kubernetes_validate.validate(body, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            name = f"{body['kind']} {body['metadata']['name']}"
            found.append(f"Kubernetes {version} refuses {name}: {error.message}")
    return found
