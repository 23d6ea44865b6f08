"""No difference between git and cluster that nobody made: what ArgoCD compares, on a real server.

ArgoCD merges what git has into what is live, as `kubectl apply` would: members that git leaves
out do not count, and a list counts as a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_operator import actions, api, crd, reasons
from model_operator.reconcile import Reconciler
from tests.fault.admin import Admin
from tests.operator.conftest import Kubectl
from tests.operator.pod_player import PodPlayer
from tests.operator.reconciling import READY, eventually, manifest, reconcile_until

Body = dict[str, Any]
CANARY = {
    "type": "Canary",
    "canary": {"steps": [{"setWeight": 50}, {"pause": {}}]},
    "scaleDownDelaySeconds": 20,
}

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


@contextlib.asynccontextmanager
async def every_change(
    admin: Admin, namespace: str, version: str
) -> AsyncIterator[dict[str, Body]]:
    """The resource after each change since a resourceVersion, by the one that it then had."""
    path = f"/apis/{api.API_VERSION}/namespaces/{namespace}/{api.PLURAL}"
    seen: dict[str, Body] = {}

    async def watch() -> None:
        async for event in admin.watch(path, version):
            seen[event["object"]["metadata"]["resourceVersion"]] = event["object"]

    task = asyncio.create_task(watch())
    yield seen
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def why_not_ready(body: Body) -> str:
    conditions = body.get("status", {}).get("conditions", ())
    return next((one["reason"] for one in conditions if one["type"] == reasons.READY), "")


@pytest.mark.api
async def test_what_is_synced_stays_so_at_every_change_of_a_whole_canary(
    reconciler: Reconciler,
    admin: Admin,
    kubectl: Kubectl,
    namespace: str,
    pod_player: PodPlayer,
):
    first, second = (
        manifest(namespace, model={"uri": f"models:/cats-dogs/{version}"}, strategy=CANARY)
        for version in (1, 2)
    )
    kubectl("apply", "-f", "-", stdin=first)
    await reconcile_until(reconciler, namespace, READY)
    applied = json.loads(kubectl("apply", "-o", "json", "-f", "-", stdin=second).stdout)
    since = applied["metadata"]["resourceVersion"]
    async with every_change(admin, namespace, since) as seen:
        waits = (reasons.READY, "False", reasons.AWAITING_PROMOTION)
        await reconcile_until(reconciler, namespace, waits)
        promote = json.dumps({"id": "1", "verb": "promote"})
        kubectl("annotate", "md", "cats-dogs", "-n", namespace, f"{actions.ANNOTATION}={promote}")
        live = await reconcile_until(reconciler, namespace, READY)

        async def all_is_seen() -> bool:
            return live["metadata"]["resourceVersion"] in seen

        await eventually(all_is_seen, "the watch has told of the last change")
    assert [differences(second, body) for body in seen.values()] == [[]] * len(seen)
    assert {
        *(reasons.STARTING, reasons.INTRODUCING, reasons.AWAITING_PROMOTION),
        *(reasons.SWITCHED, reasons.COMPLETE),
    } <= {why_not_ready(body) for body in seen.values()}
    assert live["status"]["stable"]["version"] == "2"
    assert differences(first, live) == [".spec.model.uri"], "a difference would have been found"
