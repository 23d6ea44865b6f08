"""Whether an installation works, asked from inside: what `helm test` runs in the operator's image.

    python3 -m model_operator.installed

A leader renews the Lease, the API server serves ModelDeployments, and the service account may read
them in every namespace that is served. It writes nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys

from model_operator import api
from model_operator.clients import cluster as cluster_client
from model_operator.clients import leases, login
from model_operator.clients.cluster import Cluster
from model_operator.clients.leases import LeaseClient
from model_operator.errors import NotInstalled, OperatorError
from model_operator.settings import Settings

RENEWALS_MISSED = 3
"""A Lease that nobody has renewed for so many times its duration is nobody's."""


async def look(settings: Settings, kubeconfig: str | None = None) -> str:
    """One sentence on an installation that works.

    Raises:
        NotInstalled: no operator leads.
        ApiError: the API server does not serve the kind, or refuses the service account.
        SettingsError: there is no way to log in.

    """
    configuration = await login.log_in(kubeconfig)
    lease = leases.connect(configuration, settings.lease_namespace, settings.lease_name)
    cluster = cluster_client.logged_in(configuration)
    try:
        holder = await _leader(lease, settings.lease_seconds)
        count = await _resources(cluster, settings.namespaces or (None,))
    finally:
        await cluster.close()
        await lease.close()
    return f"{holder} leads; ModelDeployments: {count}"


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


def main() -> int:
    """Prints the sentence; 1 where something is missing."""
    try:
        settings = Settings.from_environment(os.environ)
        sentence = asyncio.run(look(settings))
    except OperatorError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{sentence}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
