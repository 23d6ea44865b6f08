"""No difference between git and cluster that nobody made: what ArgoCD compares, on a real server.

ArgoCD merges what git has into what is live, as `kubectl apply` would: members that git leaves
out do not count, and a list counts as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from model_operator import crd
from tests.operator.conftest import Kubectl

Body = dict[str, Any]

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


def differences(wanted: Any, live: Any, path: str = "") -> list[str]:
    """Where a merge of what git has would change what is live."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return [
            found
            for name, value in wanted.items()
            for found in differences(value, live.get(name), f"{path}.{name}")
        ]
    return [] if wanted == live else [path]


def lists_with_defaults(schema: Body, path: str = "") -> list[str]:
    """Where a list's items have members that the API server would fill in.

    ArgoCD compares lists of a custom resource as a whole, so such a list would never be in sync.
    """
    found = []
    items = schema.get("items")
    if items is not None:
        found += [f"{path}[].{name}" for name in defaults_in(items)]
        found += lists_with_defaults(items, f"{path}[]")
    for name, member in schema.get("properties", {}).items():
        found += lists_with_defaults(member, f"{path}.{name}")
    return found


def defaults_in(schema: Body) -> list[str]:
    names = [name for name, one in schema.get("properties", {}).items() if "default" in one]
    inner = [defaults_in(one) for one in schema.get("properties", {}).values()]
    return names + [name for some in inner for name in some]


def test_no_list_of_the_spec_has_items_that_the_api_server_fills_in():
    schema = crd.custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert lists_with_defaults(schema["properties"]["spec"]) == []
    step = {"items": {"properties": {"weight": {"type": "integer", "default": 1}}}}
    assert lists_with_defaults({"properties": {"steps": step}}) == [".steps[].weight"]


@pytest.mark.api
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_in_sync_right_after_it_was_applied(
    example: Path, kubectl: Kubectl, namespace: str
):
    wanted = list(yaml.safe_load_all(example.read_text()))
    kubectl("apply", "-n", namespace, "-f", str(example))
    for body in wanted:
        name = body["metadata"]["name"]
        done = kubectl("get", body["kind"], name, "-n", namespace, "-o", "yaml")
        assert differences(body, yaml.safe_load(done.stdout)) == []
