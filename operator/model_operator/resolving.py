"""What spec.model stands for: known already, followed, or asked now. The part of `observe` that
asks registries; what is made of an answer is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from model_operator import actions, api, naming, revisions
from model_operator.clients.following import Following
from model_operator.clients.questions import Questions
from model_operator.clients.registry import Registry
from model_operator.errors import ResolutionError
from model_operator.observed import Resolution, Resource, Unverified
from model_operator.revisions import ResolvedModel, Undigested

Body = Mapping[str, Any]
Found = ResolvedModel | Undigested


async def resolve(
    resource: Resource,
    registry: Registry,
    following: Following,
    questions: Questions[Found],
    histories: Iterable[Body],
) -> Resolution | Unverified | ResolutionError | None:
    """Asks the registry only when spec.model is not what was resolved last, or by the action
    resolve; that one changes nothing when the registry has no answer. An alias that is followed is
    asked for by `following`, for all who follow it.
    """
    key = resource.key
    if resource.spec is None or resource.invalid:
        following.forget(key)
        questions.forget(key)
        return None
    requested = resource.spec.model
    known = known_model(resource, requested, histories)
    asked = actions.wants_resolving(resource.body, resource.status)
    if follows(requested):
        ask = partial(following.latest, key, requested, fresh=asked is not None)
    else:
        following.forget(key)
        if known and not asked:
            questions.forget(key)
            return known
        ask = partial(registry.resolve, requested)
    found: Found | ResolutionError
    try:
        found = await questions.answer(key, (requested, asked), ask)
    except ResolutionError as error:
        found = error
    return answer(requested, known, asked, found)


def follows(source: api.ModelSource) -> bool:
    """Whether an alias that moves is a new revision."""
    return source.update_policy == "FollowAlias"


def answer(
    requested: api.ModelSource,
    known: Resolution | None,
    asked: str | None,
    found: Found | ResolutionError,
) -> Resolution | Unverified | ResolutionError:
    """What a registry's answer means beside what was known before. Pure."""
    if isinstance(found, ResolutionError):
        return known.unanswered(found, asked=asked is not None) if known else found
    if isinstance(found, ResolvedModel):
        return Resolution(requested, found)
    if known and not asked and known.model.uri == found.uri:
        return known  # its digest was computed before
    return Unverified(requested, found, known, asked)


def known_model(
    resource: Resource, requested: api.ModelSource, histories: Iterable[Body]
) -> Resolution | None:
    """What spec.model was resolved to before: by status, and where that is lost by the records."""
    recorded = resource.status.model
    if recorded is not None:
        if recorded.requested != requested:
            return None
        model = ResolvedModel(recorded.resolved_uri, recorded.version, recorded.sha256)
        return Resolution(requested, model)
    records = [
        revisions.from_controller_revision(body, naming.revision_of(resource.name, body))
        for body in histories
        if "data" in body and naming.controller_uid(body) == resource.uid
    ]
    newest_first = sorted(records, key=lambda record: -record.number)
    wanted = revisions.as_requested(requested)
    return next(
        (Resolution(requested, r.model) for r in newest_first if r.requested == wanted), None
    )
