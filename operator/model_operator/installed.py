"""Whether an installation works, asked from inside: what `helm test` runs in the operator's image.

    python3 -m model_operator.installed RULES

A leader renews the Lease, the API server serves ModelDeployments, and the service account may do
each thing that RULES name, in every namespace that is served. The chart gives those of its own role
(as JSON), so that this asks for what was really granted. It writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubernetes.aio import client

from model_operator import api
from model_operator.clients import cluster as cluster_client
from model_operator.clients import leases, login
from model_operator.clients.cluster import Cluster
from model_operator.clients.leases import LeaseClient
from model_operator.clients.transport import Transport
from model_operator.errors import NotInstalled, OperatorError
from model_operator.settings import Settings

RENEWALS_MISSED = 3
"""A Lease that nobody has renewed for so many times its duration is nobody's."""
REVIEW = "SelfSubjectAccessReview"
REVIEWS = "authorization.k8s.io/v1"

Rule = Mapping[str, Sequence[str]]
"""As a role has it: apiGroups, resources, verbs."""


async def look(settings: Settings, rules: Sequence[Rule], kubeconfig: str | None = None) -> str:
    """One sentence on an installation that works.

    Raises:
        NotInstalled: no operator leads, or the service account may not do what the rules name.
        ApiError: the API server does not serve the kind, or refuses the service account.
        SettingsError: there is no way to log in.

    """
    configuration = await login.log_in(kubeconfig)
    lease = leases.connect(configuration, settings.lease_namespace, settings.lease_name)
    cluster = cluster_client.logged_in(configuration)
    asking = Transport(client.ApiClient(configuration), observe=None)
    namespaces = settings.namespaces or (None,)
    try:
        holder = await _leader(lease, settings.lease_seconds)
        count = await _resources(cluster, namespaces)
        rights = await _rights(asking, rules, namespaces)
    finally:
        await asking.close()
        await cluster.close()
        await lease.close()
    return f"{holder} leads; ModelDeployments: {count}; rights: {rights}"


async def _leader(lease: LeaseClient, seconds: int) -> str:
    """Who renews the Lease while we look."""
    first = await lease.read()
    try:
        async with asyncio.timeout(seconds * RENEWALS_MISSED):
            while True:
                seen = await lease.read()
                if seen.holder and seen.version != first.version:
                    return seen.holder
                await asyncio.sleep(seconds / 30)
    except TimeoutError:
        holder = first.holder or "nobody"
        raise NotInstalled(
            f"no operator leads: Lease {lease} is held by {holder} and was not renewed for "
            f"{seconds * RENEWALS_MISSED} s"
        ) from None


async def _resources(cluster: Cluster, namespaces: tuple[str | None, ...]) -> int:
    """How many ModelDeployments there are in the namespaces; None: in all."""
    count = 0
    for namespace in namespaces:
        async for page in cluster.metadata(api.KIND, namespace):
            count += len(page.items)
    return count


async def _rights(
    asking: Transport, rules: Sequence[Rule], namespaces: tuple[str | None, ...]
) -> int:
    """How many rights the service account has, of those that the rules give it."""
    wanted = [(right, namespace) for right in _each(rules) for namespace in namespaces]
    missing = [
        f"{verb} {'.'.join(part for part in (resource, group) if part)}"
        f" in {f'namespace {namespace}' if namespace else 'all namespaces'}"
        for (group, resource, verb), namespace in wanted
        if not await _may(asking, group, resource, verb, namespace)
    ]
    if missing:
        raise NotInstalled(f"the service account may not {', '.join(missing)}: who took it away?")
    return len(wanted)


def _each(rules: Sequence[Rule]) -> Iterator[tuple[str, str, str]]:
    """Group, resource and verb of each right.

    >>> list(_each([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]))
    [('', 'pods', 'list'), ('', 'pods', 'watch')]
    """
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb


async def _may(
    asking: Transport, group: str, resource: str, verb: str, namespace: str | None
) -> bool:
    """What `kubectl auth can-i` asks; without a namespace: in all of them."""
    name, _, subresource = resource.partition("/")
    attributes = {
        "group": group,
        "resource": name,
        "subresource": subresource,
        "verb": verb,
        "namespace": namespace or "",
    }
    review = {
        "apiVersion": REVIEWS,
        "kind": REVIEW,
        "spec": {"resourceAttributes": attributes},
    }
    path = f"/apis/{REVIEWS}/selfsubjectaccessreviews"
    answer: dict[str, Any] = await asking.json("create", REVIEW, path, body=review)
    return bool(answer["status"]["allowed"])


def main() -> int:
    """Prints the sentence; 1 where something is missing."""
    parser = argparse.ArgumentParser(prog="python3 -m model_operator.installed")
    parser.add_argument("rules", type=json.loads, nargs="?", default=[], help="of a role, as JSON")
    rules = parser.parse_args().rules
    try:
        settings = Settings.from_environment(os.environ)
        sentence = asyncio.run(look(settings, rules))
    except OperatorError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{sentence}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
