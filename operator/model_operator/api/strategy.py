"""spec.strategy and spec.analysis: how a new revision takes over, and what must hold meanwhile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from model_operator.api.base import ApiType, Duration

ERROR_RATE = "error-rate"
CLASS_MISMATCH = "class-mismatch"
LATENCY_PERCENTILES = {f"latency-p{percent}-ms": percent for percent in (50, 90, 95, 99)}
BUILT_IN_METRICS = frozenset({ERROR_RATE, CLASS_MISMATCH, *LATENCY_PERCENTILES})
"""What an analysis can judge without a Prometheus query."""
SHADOW_AGREEMENT = "shadow-agreement"
"""What status.analysis calls the comparison of a shadow's predictions."""
REVISION_PLACEHOLDER = "$(revision)"
"""In a query: the revision that is asked about. Not in double braces: those are Helm's, which
renders many a resource.
"""


class Pause(ApiType):
    """A halt between two weights."""

    duration: Duration | None = Field(
        default=None,
        description="How long, for example 30s, 5m or 1h. Default: until the action promote.",
    )


class CanaryStep(ApiType):
    """One step: a weight to go to, or a pause."""

    set_weight: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None,
        description="Percent of the requests that the new revision gets from now on. Each is "
        "larger than the one before; after the last step it is 100.",
    )
    pause: Pause | None = Field(
        default=None, description="Stay at this weight: for a duration, or until promoted ({})."
    )


class Canary(ApiType):
    """Settings of type Canary."""

    steps: list[CanaryStep] = Field(
        min_length=1,
        max_length=32,
        description="What happens in turn. Each step is either setWeight or pause.",
    )


class BlueGreen(ApiType):
    """Settings of type BlueGreen."""

    auto_promote: bool = Field(
        default=False,
        description="Whether traffic is switched as soon as the new revision is ready and its "
        "analysis passes. Default: it waits on NAME-preview for the action promote.",
    )


class Shadow(ApiType):
    """Settings of type Shadow."""

    percent: int = Field(
        default=100,
        ge=1,
        le=100,
        description="Percent of the requests that the new revision gets a copy of.",
    )
    min_agreement: float = Field(
        default=0.98,
        ge=0,
        le=1,
        description="The share of predictions that must agree with the stable revision's, 0 to 1.",
    )
    min_samples: int = Field(
        default=200,
        ge=1,
        le=1_000_000_000,
        description="How many predictions must have been compared before that is judged.",
    )


class Strategy(ApiType):
    """How a new revision takes over."""

    type: Literal["Standard", "Recreate", "Canary", "BlueGreen", "Shadow"] = Field(
        default="Standard",
        description="Standard: start the new revision beside the old one, wait until every "
        "replica is ready, switch all traffic in one write, keep the old one for a while. "
        "Recreate: stop the old revision before the new one starts, for clusters that cannot "
        "hold both at once (GPUs); nothing serves in between. Canary: raise the new revision's "
        "share of requests in steps. BlueGreen: start it whole on NAME-preview, switch when "
        "promoted. Shadow: send it copies of live requests and compare the predictions; clients "
        "only ever hear the old one.",
    )
    canary: Canary | None = Field(
        default=None,
        description="Settings of type Canary, which needs them.",
    )
    blue_green: BlueGreen | None = Field(default=None, description="Settings of type BlueGreen.")
    shadow: Shadow | None = Field(default=None, description="Settings of type Shadow.")
    scale_down_delay_seconds: int = Field(
        default=30,
        ge=20,
        le=86_400,
        description="How long the old revision stays at full size after the switch. At least 20: "
        "kept-alive connections reach it for up to 15. Recreate keeps none, so it waits for none.",
    )


class PrometheusQuery(ApiType):
    """A value that Prometheus computes."""

    query: str = Field(
        min_length=1,
        max_length=4096,
        description="A PromQL query with one number as its result. $(revision) (the one that is "
        "judged), $(name), $(namespace) and $(interval) are filled in.",
    )


class Metric(ApiType):
    """One value of the new revision, and its limits: at least one of them."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field(
        description="error-rate (share of requests answered with 5xx, given up by the client or "
        "too late, 0 to 1), latency-p50-ms, -p90-ms, -p95-ms or -p99-ms (milliseconds), "
        "class-mismatch (share of predictions in classes that the other revision does not know, 0 "
        "to 1), or with prometheus any other name. class-mismatch is always judged; max is 0 "
        "unless it is named.",
    )
    max: float | None = Field(default=None, description="The largest value that passes.")
    min: float | None = Field(default=None, description="The smallest value that passes.")
    max_ratio_to_stable: Annotated[float, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="The largest value that passes, as a multiple of the stable revision's. A "
        "multiple of 0 is 0; without a value of the stable revision's there is no data.",
    )
    prometheus: PrometheusQuery | None = Field(
        default=None,
        description="Where the value comes from. Default: the pods' own metrics, for the names "
        "that are built in.",
    )


class Analysis(ApiType):
    """What must hold for a new revision while it is introduced."""

    interval: Duration = Field(
        default="30s", description="How often the metrics are judged, for example 30s or 5m."
    )
    failure_limit: int = Field(
        default=2,
        ge=0,
        le=100,
        description="How many failures in a row are forgiven; the next one aborts the rollout.",
    )
    min_requests: int = Field(
        default=50,
        ge=1,
        le=1_000_000_000,
        description="How many requests the new revision must have answered since the step began "
        "before it is judged. Queries of Prometheus do not wait for them.",
    )
    on_no_data: Literal["Pause", "Pass", "Fail"] = Field(
        default="Pause",
        description="What too few requests mean. Pause: wait. Pass: go on. Fail: a failure.",
    )
    metrics: list[Metric] = Field(
        min_length=1, max_length=16, description="What is judged. All of them must pass."
    )
