"""How the operator logs in to an API server: whose it is, and the proxy on the way.

`main` logs in once and makes every connection pool of it; kopf's own log-in is made of it, too.
"""

from __future__ import annotations

import os

from kubernetes.aio import client, config

from model_operator.clients.proxies import proxy_of
from model_operator.errors import SettingsError


async def log_in(
    kubeconfig: str | None = None, user_agent: str | None = None
) -> client.Configuration:
    """By the kubeconfig that is named, else as a pod's service account, else by the usual
    kubeconfig (KUBECONFIG, ~/.kube/config). `user_agent` is what audit logs know us by.

    Raises:
        SettingsError: none of them leads to an API server.

    """
    configuration = client.Configuration()
    try:
        if kubeconfig or "KUBERNETES_SERVICE_HOST" not in os.environ:
            await config.load_kube_config(kubeconfig, client_configuration=configuration)
        else:
            config.load_incluster_config(configuration)
    except config.ConfigException as error:
        raise SettingsError(f"KUBECONFIG: no way to log in to an API server: {error}") from error
    configuration.proxy = configuration.proxy or proxy_of(configuration.host)
    # Looking for a proxy and for a netrc before every request is nearly half of what one costs.
    session = {"trust_env": False}
    headers = {"headers": {"User-Agent": user_agent}} if user_agent else {}
    configuration.client_session_kwargs = {**session, **headers}
    return configuration


async def bearer_token(configuration: client.Configuration) -> str | None:
    """The token that goes into requests now, without its scheme."""
    key: str | None = await configuration.get_api_key_with_prefix("BearerToken")
    return key.split(" ", 1)[-1] if key else None
