"""The way to the API server, as kubectl finds it: kubeconfig, context, namespace.

Every command that needs the cluster opens one `Session`; what goes wrong there is one sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import yaml
from kubernetes.aio import client, config

from model_operator import api
from model_operator.cli.endpoint import Endpoint
from model_operator.cli.errors import Failed, UsageError
from model_operator.clients.cluster import Cluster, path
from model_operator.clients.transport import Body, Transport
from model_operator.errors import ApiError, ApiUnreachable, Conflict, NotFound

MANAGER = "kubectl-md"
"""Field manager of what this command writes."""
_PASSES = (429, 500, 502, 503, 504)
"""Statuses of an API server that is overloaded, or not all there."""
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Session:
    """One connection pool to one API server, and the namespace that is meant."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self.cluster = Cluster(api_client)
        self._client = api_client
        self._transport = Transport(api_client, None)

    async def resource(self, name: str, namespace: str | None = None) -> Body:
        """A ModelDeployment.

        Raises:
            Failed: there is none of that name.

        """
        scope = namespace or self.namespace
        found = await self.cluster.get(api.KIND, scope, name)
        if found is None:
            raise Failed(f"there is no ModelDeployment {name} in namespace {scope}: {_LOOK}")
        return found

    async def apply(self, body: Mapping[str, Any], *, force: bool, dry_run: bool = False) -> Body:
        """Server-side apply of a ModelDeployment by this command's own field manager."""
        metadata = body["metadata"]
        target = path(api.KIND, metadata["namespace"], metadata["name"])
        query = {"fieldManager": MANAGER, "force": "true" if force else "false"}
        query |= {"dryRun": "All"} if dry_run else {}
        return await self._transport.json(
            "apply", api.KIND, target, query, body, "application/apply-patch+yaml"
        )

    async def annotate(self, name: str, key: str, value: str) -> None:
        """Sets one annotation of a ModelDeployment."""
        await self._transport.json(
            "patch",
            api.KIND,
            path(api.KIND, self.namespace, name),
            {"fieldManager": MANAGER},
            {"metadata": {"annotations": {key: value}}},
            "application/merge-patch+json",
        )

    async def service_proxy(self, name: str) -> Endpoint:
        """The API server's proxy to the port http of a Service."""
        configuration = self._client.configuration
        settings = (await configuration.auth_settings()).values()
        url = f"{configuration.host}{path('Service', self.namespace, f'{name}:http', 'proxy')}"
        secure = urlsplit(url).scheme == "https"
        return Endpoint(
            url=url,
            words="through the API server's proxy",
            headers={setting["key"]: setting["value"] for setting in settings},
            tls=cast("ssl.SSLContext", self._client.rest_client.ssl_context) if secure else None,
            http_proxy=configuration.proxy,
        )


@contextlib.asynccontextmanager
async def session(arguments: argparse.Namespace) -> AsyncIterator[Session]:
    """Logged in as `--kubeconfig` and `--context` say, else as kubectl would be.

    Raises:
        UsageError: they do not lead to an API server.
        Failed: the API server refused something, or did not answer.

    """
    configuration = client.Configuration()
    namespace = await _log_in(configuration, arguments.kubeconfig, arguments.context)
    opened = Session(client.ApiClient(configuration), arguments.namespace or namespace)
    try:
        yield opened
    except ApiError as error:
        raise Failed(sentence(error)) from error
    except ApiUnreachable as error:
        raise Failed(f"the API server at {configuration.host} does not answer: {error}") from error
    finally:
        await opened.cluster.close()


async def _log_in(
    configuration: client.Configuration, kubeconfig: str | None, context: str | None
) -> str:
    """Fills the configuration in; returns the namespace that is meant where none is named."""
    files = kubeconfig or os.environ.get("KUBECONFIG") or _usual_kubeconfig()
    existing = _existing(files)
    if not existing and "KUBERNETES_SERVICE_HOST" in os.environ and not (kubeconfig or context):
        config.load_incluster_config(configuration)
        return _pod_namespace()
    if not existing:
        raise UsageError(f"there is no kubeconfig at {files}: {_NAME_ONE}")
    try:
        loader = await config.load_kube_config(
            existing, context, configuration, persist_config=False
        )
    except (config.ConfigException, OSError, TypeError, ValueError, yaml.YAMLError) as error:
        where = f"context {context} of {files}" if context else files
        words = " ".join(str(error).split())
        raise UsageError(f"no way to an API server by {where} ({words}): {_NAME_ONE}") from error
    chosen: Mapping[str, Any] = loader.current_context["context"]
    return str(chosen.get("namespace") or "default")


def _usual_kubeconfig() -> str:
    return str(Path("~/.kube/config").expanduser())


def _existing(files: str) -> str:
    """Those of several kubeconfigs that exist: as with kubectl, others are passed over."""
    return os.pathsep.join(file for file in files.split(os.pathsep) if Path(file).is_file())


def _pod_namespace() -> str:
    return _POD_NAMESPACE.read_text(encoding="utf-8").strip()


def sentence(error: ApiError) -> str:
    """What the API server refused, and what to do, for people."""
    if error.status == 401:
        return "the API server does not know you (401): log in again, or use another --context"
    if error.status == 403:
        return (
            f"you are not allowed to do this: {error.message} (docs/kubectl-md.md has the rights)"
        )
    if isinstance(error, Conflict):
        return f"{_one_line(error.message)}: --force-conflicts takes such fields over"
    if isinstance(error, NotFound) and "could not find the requested resource" in error.message:
        return "this cluster has no ModelDeployments: install the chart cv-factory first"
    return f"the API server refused it ({error.status}): {_one_line(error.message)}"


def no_answer(error: ApiError | ApiUnreachable) -> str | None:
    """What to say of an API server that does not answer for a while, which ends no waiting; None
    for an error that stays.
    """
    if isinstance(error, ApiUnreachable):
        return f"the API server does not answer: {error}"
    return sentence(error) if error.status in _PASSES else None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def as_json(value: Mapping[str, Any]) -> str:
    """One line for programs."""
    return json.dumps(value, ensure_ascii=False)


_NAME_ONE = "name one with --kubeconfig or KUBECONFIG, and one of its contexts with --context"
_LOOK = "`kubectl get modeldeployments --all-namespaces` lists them"
