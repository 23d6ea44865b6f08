"""The shadow's side: how far a mirrored request's predictions are those of the stable revision.

`rest.dataplane` calls it for each request that was predicted. Any server compares, since any
revision may become a shadow without a restart; only the shadow's counters are read by anyone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from model_server.metrics import UNKNOWN_CLASS, Metrics
from model_server.mirror import wire


def is_mirrored(headers: Mapping[str, str]) -> bool:
    """Whether a request is a copy that another server sent; such a one is never sent on."""
    return wire.REVISION_HEADER in headers


def compare(
    headers: Mapping[str, str],
    predicted: Sequence[str],
    classes: Collection[str],
    metrics: Metrics,
) -> dict[str, Any]:
    """Count the agreement of a mirrored request, and return what its log line says of it.

    `predicted` is what this server answers, `classes` are those it knows.
    """
    revision = headers[wire.REVISION_HEADER]
    try:
        theirs = wire.decode(
            revision, headers.get(wire.PREDICTIONS_HEADER), pictures=len(predicted)
        )
    except wire.MirrorMalformed:
        metrics.shadow_malformed.inc()
        return {"mirror": "malformed"}
    agreed = 0
    for stable, own in zip(theirs, predicted, strict=True):
        label = stable if stable in classes else UNKNOWN_CLASS
        agreement = "agree" if stable == own else "differ"
        agreed += stable == own
        metrics.shadow.labels(label, agreement).inc()
    return {"mirrored_from": revision, "agreed": agreed}
