"""What of an invalid spec is still valid: by this the rollout that is under way goes on. Pure.

Asked by `observe`. Which revision runs is taken from the records, never from such a spec; here
it is about the size, the strategy's delays and the endpoint's settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from model_operator import api


def valid_part(
    spec: Mapping[str, Any], status: api.ModelDeploymentStatus
) -> api.ModelDeploymentSpec | None:
    """The spec without the members that are not valid; None when no model was ever resolved.

    Where it is the size that is not valid, the present one stays.
    """
    if status.model is None:
        return None
    model = status.model.requested.model_dump(mode="json", by_alias=True, exclude_none=True)
    kept: dict[str, Any] = {"model": model, "replicas": status.replicas or 0}
    for name in sorted(spec.keys() - {"model", "server"}):
        if _is_valid({**kept, name: spec[name]}):
            kept[name] = spec[name]
    return api.ModelDeploymentSpec.model_validate(kept)


def _is_valid(spec: Mapping[str, Any]) -> bool:
    try:
        api.ModelDeploymentSpec.model_validate(spec)
    except ValidationError:
        return False
    return True
