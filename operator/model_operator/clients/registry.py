"""The Registry: an MLflow server, asked over its REST API what a model URI stands for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakValueDictionary

from model_operator import reasons, sources
from model_operator.allowed import Allowed, same_server
from model_operator.api import ModelSource
from model_operator.clients.mlflow import MlflowClient, headers_of
from model_operator.errors import (
    MlflowError,
    MlflowLoginRefused,
    MlflowRefused,
    NotMlflow,
    ResolutionDelayed,
    ResolutionError,
    ResolutionRefused,
)
from model_operator.revisions import ResolvedModel, Undigested
from model_operator.settings import Settings
from model_operator.wording import one_line

DIGEST_TAG = "sha256"
AT_ONCE = 8
"""Requests to one server that are under way together: others must not wait for one that hangs."""
MOST_CHARACTERS = 200
"""Of a text of the registry's that is shown."""
_URI = re.compile(r"^models:/(?P<name>[^/@]+)(?:/(?P<version>[0-9]+)|@(?P<alias>[\w.-]+))$")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True)
class TaggedVersion:
    """A version of a registered model, as the registry has it."""

    name: str
    number: str
    tags: Mapping[str, str]


class Registry(Protocol):
    """Turns a model URI into a version and its digest."""

    async def resolve(self, source: ModelSource) -> ResolvedModel | Undigested:
        """What `source` stands for now; without a digest where nobody has registered one.

        Raises:
            ResolutionRefused: there is no such model, or it cannot be verified.
            ResolutionDelayed: the registry does not answer.

        """
        ...


class MlflowRegistry:
    """MLflow tracking servers with a model registry: the operator's own, and others that sources
    name and an administrator allows.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._allowed = Allowed(
            settings.allowed_schemes, settings.allowed_hosts, settings.tracking_uri
        )

    async def resolve(self, source: ModelSource) -> ResolvedModel | Undigested:
        """See `Registry.resolve`."""
        if sources.is_registered(source.uri):
            return meant(source, await self.look_up(source))
        self._must_be_allowed(source)
        if sources.is_in_mlflow(source.uri):
            self._address(source)
        return unregistered(source)

    async def look_up(self, source: ModelSource) -> TaggedVersion:
        """The version that a URI with models:/ names now, whatever is required of it.

        Raises:
            ResolutionError: as `Registry.resolve`.

        """
        self._must_be_allowed(source)
        match = _URI.match(source.uri)
        if match is None:
            raise ResolutionRefused(
                reasons.MODEL_NOT_FOUND,
                f"{source.uri} is not a model URI: write models:/NAME/VERSION or "
                "models:/NAME@ALIAS",
            )
        address, name = self._address(source), match["name"]
        if match["alias"]:
            query = {"name": name, "alias": match["alias"]}
            body = await self._get(address, "registered-models/alias", query, source.uri)
        else:
            query = {"name": name, "version": match["version"]}
            body = await self._get(address, "model-versions/get", query, source.uri)
        version = body.get("model_version")
        if not isinstance(version, Mapping) or not _NUMBER.fullmatch(str(version.get("version"))):
            raise _unresolved(NotMlflow(address, 200), source.uri)
        return TaggedVersion(name, str(version["version"]), _tags(version.get("tags")))

    def _must_be_allowed(self, source: ModelSource) -> None:
        if words := self._allowed.refusal(source):
            raise ResolutionRefused(reasons.SOURCE_REFUSED, words)

    def _address(self, source: ModelSource) -> str:
        address = source.registry or self._settings.tracking_uri
        if not address:
            raise ResolutionRefused(
                reasons.REGISTRY_UNREACHABLE,
                "the operator has no registry: set MLFLOW_TRACKING_URI (the chart's value "
                "registry.trackingUri), or name one in spec.model.registry",
            )
        return address

    async def _get(
        self, address: str, endpoint: str, query: Mapping[str, str], uri: str
    ) -> Mapping[str, Any]:
        # The operator's own credentials are for its own registry, and for no other.
        own = same_server(address, self._settings.tracking_uri)
        client = MlflowClient(address, headers_of(self._settings) if own else {})
        turns = self._turns.setdefault(address.rstrip("/"), asyncio.Semaphore(AT_ONCE))
        try:
            async with turns:
                return await client.get(endpoint, query)
        except MlflowError as error:
            raise _unresolved(error, uri) from error


def unregistered(source: ModelSource) -> ResolvedModel | Undigested:
    """A source that no registry knows: there is nobody to ask, and only a pin says what it is."""
    found = Undigested(source.uri)
    return found.with_digest(source.sha256) if source.sha256 else found


def meant(source: ModelSource, version: TaggedVersion) -> ResolvedModel | Undigested:
    """A registered version as the resolved model, its tags checked, its digest against the pin.

    Raises:
        ResolutionRefused: a required tag is missing, the registered digest is none, or not the
            one that is pinned.

    """
    number, tags = version.number, version.tags
    uri = f"models:/{version.name}/{number}"
    _must_be_validated(source.required_tags or {}, tags, uri)
    digest = tags.get(DIGEST_TAG)
    if source.sha256 and digest and digest != source.sha256:
        raise ResolutionRefused(
            reasons.DIGEST_REFUSED,
            f"{uri} has sha256 {digest}, but spec.model.sha256 pins {source.sha256}",
        )
    digest = source.sha256 or digest
    if not digest:
        return Undigested(uri, number)
    if not _DIGEST.fullmatch(digest):
        raise ResolutionRefused(
            reasons.NO_DIGEST,
            f"the tag {DIGEST_TAG} of {uri} is no digest: register it with `model-train "
            "register`, correct or remove the tag, or set spec.model.sha256",
        )
    return ResolvedModel(uri=uri, version=number, sha256=digest)


def _tags(listed: object) -> Mapping[str, str]:
    """The tags of a version, whatever a registry has answered."""
    pairs = listed if isinstance(listed, list) else []
    tags = [tag for tag in pairs if isinstance(tag, Mapping) and "key" in tag]
    return {str(tag["key"]): str(tag.get("value", "")) for tag in tags}


def _must_be_validated(required: Mapping[str, str], tags: Mapping[str, str], uri: str) -> None:
    missing = [tag for tag in sorted(required) if tags.get(tag) != required[tag]]
    if not missing:
        return
    tag = missing[0]
    shown = one_line(tags.get(tag, ""), MOST_CHARACTERS)
    found = f"it is {shown!r}" if tag in tags else "it has no such tag"
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    wanted = one_line(required[tag], MOST_CHARACTERS)
    raise ResolutionRefused(
        reasons.NOT_VALIDATED,
        f"{uri} is not served: spec.model.requiredTags wants the tag {tag} to be "
        f"{wanted!r}, and {found}{more}; set it in the registry, which is asked again by and by",
    )


def _unresolved(error: MlflowError, uri: str) -> ResolutionError:
    """What an error of the server means for the model that was asked for."""
    match error:
        case MlflowLoginRefused():
            words = f"{error}; it has some for the registry of MLFLOW_TRACKING_URI alone"
            return ResolutionRefused(reasons.REGISTRY_REFUSED, words)
        case MlflowRefused(address=address, message=message):
            told = one_line(message, MOST_CHARACTERS)
            words = f"{uri} does not exist in the registry at {address}: {told}"
            return ResolutionRefused(reasons.MODEL_NOT_FOUND, words)
        case _:
            return ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, str(error))
