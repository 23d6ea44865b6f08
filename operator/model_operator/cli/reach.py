"""How to reach a resource's endpoint from where this runs; for `smoke` and `load`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiohttp

from model_operator.cli.arguments import PROGRAM
from model_operator.cli.endpoint import Endpoint, request
from model_operator.cli.errors import Failed, UsageError
from model_operator.cli.session import Session, session

Body = Mapping[str, Any]

TRY_SECONDS = 2.0


@contextlib.asynccontextmanager
async def reached(
    arguments: argparse.Namespace,
) -> AsyncIterator[tuple[Endpoint, Body | None]]:
    """The endpoint that `--url` or NAME means, and the resource where NAME is given."""
    if arguments.url is not None:
        if arguments.via is not None:
            raise UsageError("--via is for NAME; --url says already how to get there")
        yield Endpoint.at(arguments.url), None
        return
    async with session(arguments) as opened:
        resource = await opened.resource(arguments.name)
        yield await _endpoint(opened, resource, arguments.via), resource


async def _endpoint(opened: Session, resource: Body, via: str | None) -> Endpoint:
    name = resource["metadata"]["name"]
    url = (resource.get("status") or {}).get("url")
    if not url:
        raise Failed(f"{name} has no endpoint yet: `{PROGRAM} status {name}` says why")
    proxy = await opened.service_proxy(name)
    if via == "api-server":
        return proxy
    service = await opened.cluster.get("Service", opened.namespace, name)
    addresses = list(dict.fromkeys([url, *load_balancers(service or {})]))
    known = revisions(resource)
    async with aiohttp.ClientSession() as client:
        for address in addresses:
            if await _answers(client, Endpoint(address, ""), known):
                return Endpoint(address, f"directly, at {address}")
    if via == "service":
        where = " and ".join(addresses)
        raise Failed(
            f"no server of {name}'s revisions answers at {where}: leave --via out to go through "
            "the API"
        )
    return proxy


def load_balancers(service: Body) -> Iterator[str]:
    """The addresses that a load balancer has given to a Service. Pure."""
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    for ingress in balancer.get("ingress") or ():
        if address := ingress.get("hostname") or ingress.get("ip"):
            yield f"http://[{address}]" if ":" in address else f"http://{address}"


def revisions(resource: Body) -> frozenset[str]:
    """The revisions that may answer for a resource. Pure."""
    status = resource.get("status") or {}
    named = [(status.get(role) or {}).get("revision") for role in ("stable", "canary")]
    return frozenset(revision for revision in named if revision)


async def _answers(
    client: aiohttp.ClientSession, endpoint: Endpoint, known: frozenset[str]
) -> bool:
    """Whether a server of one of these revisions answers there: outside of the cluster a name may
    lead elsewhere, and in another cluster to the same name.
    """
    try:
        answer = await request(client, endpoint, "/metrics", seconds=TRY_SECONDS)
    except (aiohttp.ClientError, OSError):
        return False
    told = [f'revision="{revision}"'.encode() for revision in known]
    return answer.status == 200 and any(one in answer.body for one in told)
