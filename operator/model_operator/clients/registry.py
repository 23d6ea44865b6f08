"""The Registry: an MLflow server, asked over its REST API what a model URI stands for.

Two endpoints are all that the operator needs, and MLflow's own client would add 38 MB to the
process and block its event loop. https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp

from model_operator import reasons
from model_operator.api import ModelSource
from model_operator.errors import ResolutionDelayed, ResolutionRefused
from model_operator.revisions import ResolvedModel
from model_operator.settings import Settings

DIGEST_TAG = "sha256"
TIMEOUT_SECONDS = 10
_URI = re.compile(r"^models:/(?P<name>[^/@]+)(?:/(?P<version>[0-9]+)|@(?P<alias>[\w.-]+))$")
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


class Registry(Protocol):
    """Turns a model URI into a version and its digest."""

    async def resolve(self, source: ModelSource) -> ResolvedModel:
        """What `source` stands for now.

        Raises:
            ResolutionRefused: there is no such model, or it cannot be verified.
            ResolutionDelayed: the registry does not answer.

        """
        ...


class MlflowRegistry:
    """An MLflow tracking server with a model registry."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def resolve(self, source: ModelSource) -> ResolvedModel:
        """See `Registry.resolve`."""
        match = _URI.match(source.uri)
        if match is None:
            raise ResolutionRefused(
                reasons.MODEL_NOT_FOUND,
                f"{source.uri} is not a model URI: write models:/NAME/VERSION or "
                "models:/NAME@ALIAS",
            )
        name = match["name"]
        if match["alias"]:
            body = await self._get(
                "registered-models/alias", {"name": name, "alias": match["alias"]}, source.uri
            )
        else:
            body = await self._get(
                "model-versions/get", {"name": name, "version": match["version"]}, source.uri
            )
        version = body.get("model_version")
        if not isinstance(version, Mapping) or "version" not in version:
            raise _not_mlflow(self._settings.tracking_uri, 200)
        return resolved(source, name, version)

    async def _get(self, endpoint: str, query: Mapping[str, str], uri: str) -> Mapping[str, Any]:
        address = self._settings.tracking_uri
        if not address:
            raise ResolutionRefused(
                reasons.REGISTRY_UNREACHABLE,
                "the operator has no registry: set MLFLOW_TRACKING_URI (the chart's value "
                "registry.trackingUri)",
            )
        url = f"{address.rstrip('/')}/api/2.0/mlflow/{endpoint}"
        try:
            async with (
                aiohttp.ClientSession(
                    headers=self._authorization(),
                    timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
                ) as session,
                session.get(url, params=dict(query)) as response,
            ):
                status, body = response.status, _json(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            words = f"the registry at {address} cannot be reached: {_words(error)}"
            raise ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, words) from error
        _raise_for_status(status, body, address, uri)
        return body

    def _authorization(self) -> dict[str, str]:
        settings = self._settings
        if settings.tracking_token:
            return {"Authorization": f"Bearer {settings.tracking_token}"}
        if settings.tracking_username:
            login = f"{settings.tracking_username}:{settings.tracking_password or ''}"
            return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        return {}


def resolved(source: ModelSource, name: str, version: Mapping[str, Any]) -> ResolvedModel:
    """A registered version as the resolved model, its digest checked against the pin.

    Raises:
        ResolutionRefused: there is no digest, or not the one that is pinned.

    """
    number = str(version["version"])
    uri = f"models:/{name}/{number}"
    tags = {tag.get("key"): tag.get("value") for tag in version.get("tags") or ()}
    digest = tags.get(DIGEST_TAG)
    if source.sha256 and digest and digest != source.sha256:
        raise ResolutionRefused(
            reasons.DIGEST_REFUSED,
            f"{uri} has sha256 {digest}, but spec.model.sha256 pins {source.sha256}",
        )
    digest = source.sha256 or digest
    if not digest or not _DIGEST.match(digest):
        raise ResolutionRefused(
            reasons.NO_DIGEST,
            f"{uri} has no valid tag {DIGEST_TAG}: register it with `model-train register`, or "
            "set spec.model.sha256",
        )
    return ResolvedModel(uri=uri, version=number, sha256=digest)


def _raise_for_status(status: int, body: Mapping[str, Any], address: str, uri: str) -> None:
    if status < 400:
        return
    if status in (401, 403):
        raise ResolutionRefused(
            reasons.REGISTRY_REFUSED,
            f"the registry at {address} refused the operator's credentials ({status})",
        )
    if status in (400, 404):
        # A proxy in front of the registry has its own 404, and that says nothing of the model.
        if "error_code" not in body:
            raise _not_mlflow(address, status)
        raise ResolutionRefused(
            reasons.MODEL_NOT_FOUND,
            f"{uri} does not exist in the registry at {address}: {body.get('message', '')}",
        )
    raise ResolutionDelayed(
        reasons.REGISTRY_UNREACHABLE, f"the registry at {address} answers with status {status}"
    )


def _not_mlflow(address: str | None, status: int) -> ResolutionDelayed:
    return ResolutionDelayed(
        reasons.REGISTRY_UNREACHABLE,
        f"what answers at {address} (status {status}) is not an MLflow server: check the address",
    )


def _json(content: bytes) -> Mapping[str, Any]:
    """The object that `content` holds; empty when it is anything else, such as a page of HTML."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, Mapping) else {}


def _words(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error)
