"""What of an invalid spec is still valid: by this the rollout that is under way goes on. Pure.

Asked by `observe`. Which revision runs is taken from the records, never from such a spec; here
it is about the size, the strategy's delays and the endpoint's settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_operator import api, validation


def valid_part(
    spec: Mapping[str, Any], status: api.ModelDeploymentStatus
) -> api.ModelDeploymentSpec | None:
    """The spec without the members that are not valid; None when no model was ever resolved.

    Where it is the size that is not valid, the present one stays; in the gap of strategy
    Recreate that is 0, and one pod is better than none.
    """
    if status.model is None:
        return None
    model = status.model.requested.model_dump(mode="json", by_alias=True, exclude_none=True)
    size = max(status.replicas or 0, int(status.current_step_index is not None))
    kept: dict[str, Any] = {"model": model, "replicas": size}
    for name in sorted(spec.keys() - {"model", "server"}):
        if _is_valid({**kept, name: spec[name]}):
            kept[name] = spec[name]
    if "strategy" not in kept and isinstance(spec.get("strategy"), Mapping):
        kind = {"strategy": {"type": spec["strategy"].get("type")}}
        kept |= kind if _is_valid({**kept, **kind}) else {}
    return api.ModelDeploymentSpec.model_validate(kept)


def _is_valid(spec: Mapping[str, Any]) -> bool:
    return validation.refusal({"metadata": {"name": "any"}, "spec": spec}) is None
