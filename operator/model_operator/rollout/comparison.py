"""Which two revisions are compared now: by the record, for readings span passes. Pure.

`observe` has them measured, `decide` judges what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_operator import api
from model_operator.rollout import blue_green, shadow


@dataclass(frozen=True)
class Comparison:
    """The revision that is judged, and the one that it is compared with."""

    canary: str
    stable: str | None


def compared(spec: api.ModelDeploymentSpec, status: api.ModelDeploymentStatus) -> Comparison | None:
    """The comparison that is under way: as long as the revision that is introduced gets requests,
    or copies of them; with strategy BlueGreen also after the switch, while there is a way back.
    """
    kind = spec.strategy.type
    if spec.analysis is None and kind != "Shadow":
        return None
    stable = status.stable.revision if status.stable else None
    introduced = status.canary.revision if status.canary else None
    index = status.current_step_index
    if kind == "BlueGreen" and introduced is None and status.retiring and stable:
        return Comparison(stable, status.retiring)
    if introduced is None or index is None or introduced == status.failed_revision:
        return None
    weights = {weight.revision: weight.weight for weight in status.traffic or ()}
    gets_requests = {
        "Canary": weights.get(introduced, 0) > 0,
        "BlueGreen": index >= blue_green.PREVIEW_STEP,
        "Shadow": index == shadow.COMPARING_STEP,
    }
    return Comparison(introduced, stable) if gets_requests.get(kind) else None
