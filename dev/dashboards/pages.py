"""What the dashboards show: the models, their rollouts, the operator."""

from __future__ import annotations

from pathlib import PurePath

from dev.dashboards.grafana import Dashboard, Panel, render

FOLDER = PurePath("charts/cv-factory/files/dashboards")
ORIGIN = "Generated from dev/dashboards by `make generate`. Do not edit."

CHOSEN = 'namespace=~"$namespace",model_deployment=~"$model"'
SERVED = f'job="cv-factory-models",{CHOSEN}'
AGREED = f'{SERVED},agreement="agree"'
ROUTED = f'job="cv-factory-routers",{CHOSEN}'
OPERATOR = 'job="cv-factory-operator",namespace=~"$namespace"'
REVISION = "{{model_deployment}} {{revision}} (version {{model_version}})"
BY_REVISION = "namespace, model_deployment, revision, model_version"
MODELS = {
    "namespace": "label_values(model_info, namespace)",
    "model": 'label_values(model_info{namespace=~"$namespace"}, model_deployment)',
}


def _rate(metric: str, labels: str = SERVED) -> str:
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def _mean(metric: str) -> str:
    whole, count = (
        f"sum by ({BY_REVISION}) ({_rate(f'{metric}_{of}')})" for of in ("sum", "count")
    )
    return f"{whole} / {count}"


def _quantile(share: float, metric: str, by: str = BY_REVISION, labels: str = SERVED) -> str:
    buckets = _rate(f"{metric}_bucket", labels)
    return f"histogram_quantile({share}, sum by ({by}, le) ({buckets}))"


MODEL_PAGE = Dashboard(
    uid="cv-factory-models",
    title="CV Factory / Models",
    variables=MODELS,
    panels=[
        Panel("Predictions", {REVISION: f"revision:requests:rate5m{{{CHOSEN}}}"}, "reqps"),
        Panel(
            "Errors",
            {"{{model_deployment}}": f"model:request_errors:ratio5m{{{CHOSEN}}}"},
            "percentunit",
            "Predictions that ended with a 5xx, of those that clients asked for.",
            limit=0.001,
        ),
        Panel(
            "Error budget of 30 days, as it burns",
            {
                f"{{{{model_deployment}}}}, {window}": (
                    f"model:request_errors:ratio{window}{{{CHOSEN}}} / 0.001"
                )
                for window in ("1h", "6h", "3d")
            },
            words="1 uses up the budget in 30 days; 14.4 in two.",
            limit=14.4,
        ),
        *(
            Panel(
                f"p{quantile:.0f}",
                {
                    REVISION: (
                        "revision:request_duration_seconds:quantile5m"
                        f'{{{CHOSEN},quantile="{quantile / 100:g}"}}'
                    )
                },
                "s",
            )
            for quantile in (50, 95, 99)
        ),
        Panel(
            "Where the time goes",
            {
                f"{name}, {{{{model_deployment}}}} {{{{revision}}}}": _quantile(0.95, metric)
                for name, metric in {
                    "waiting": "prediction_queue_wait_seconds",
                    "decoding": "model_decode_time_seconds",
                    "network": "model_inference_time_seconds",
                }.items()
            },
            "s",
            "95th percentiles. More replicas shorten the waiting, and nothing else.",
        ),
        Panel(
            "In flight",
            {
                "waiting, {{pod}}": f"prediction_queue_depth{{{SERVED}}}",
                "predicted, {{pod}}": f"predictions_in_progress{{{SERVED}}}",
            },
        ),
        Panel(
            "Refused, by reason",
            {
                "{{model_deployment}} {{reason}}": (
                    f"sum by (namespace, model_deployment, reason)"
                    f" ({_rate('http_requests_rejected_total')})"
                )
            },
            "reqps",
        ),
        Panel(
            "Predictions by class",
            {
                "{{model_deployment}} {{class}}": (
                    "sum by (namespace, model_deployment, class)"
                    f" ({_rate('prediction_class_total')})"
                )
            },
            stacked=True,
            words="Pictures a second.",
        ),
        Panel(
            "Drift of the predictions",
            {"{{model_deployment}} {{revision}}": f"revision:predictions:drift1h{{{CHOSEN}}}"},
            "percentunit",
            "How much of the last hour's predictions fell into other classes than the day before.",
            limit=0.2,
        ),
        Panel(
            "Confidence",
            {
                REVISION: _mean("model_prediction_confidence"),
                "yesterday, {{model_deployment}} {{revision}}": (
                    f"revision:prediction_confidence:mean1d_before{{{CHOSEN}}}"
                ),
            },
            "percentunit",
        ),
        Panel(
            "Brightness of the pictures",
            {
                REVISION: _mean("model_input_brightness"),
                "yesterday, {{model_deployment}} {{revision}}": (
                    f"revision:input_brightness:mean1d_before{{{CHOSEN}}}"
                ),
            },
            "percentunit",
        ),
        Panel("Pixels of a picture", {REVISION: _quantile(0.5, "model_input_pixels")}),
        Panel("Memory", {"{{pod}}": f"process_resident_memory_bytes{{{SERVED}}}"}, "bytes"),
    ],
)

ROLLOUT_PAGE = Dashboard(
    uid="cv-factory-rollouts",
    title="CV Factory / Rollouts",
    variables=MODELS,
    events={
        "revision starts": (
            f"count by (namespace, model_deployment, revision) (model_info{{{SERVED}}})"
            f" unless count by (namespace, model_deployment, revision)"
            f" (model_info{{{SERVED}}} offset 2m)"
        )
    },
    panels=[
        Panel(
            "Who answers",
            {
                REVISION: (
                    f"revision:requests:rate5m{{{CHOSEN}}} / on (namespace, model_deployment)"
                    f" group_left () (sum by (namespace, model_deployment)"
                    f" (revision:requests:rate5m{{{CHOSEN}}}) > 0)"
                )
            },
            "percentunit",
            "The timeline of rollouts: each revision's part of the predictions.",
            stacked=True,
            width=24,
        ),
        Panel(
            "Pods",
            {REVISION: f"count by ({BY_REVISION}) (model_info{{{SERVED}}})"},
            stacked=True,
            words="That have loaded their model.",
        ),
        Panel(
            "Weights of the router",
            {
                "{{model_deployment}} {{revision}}": (
                    "avg by (namespace, model_deployment, revision)"
                    f" (model_router_weight{{{ROUTED}}}) / 100"
                )
            },
            "percentunit",
            "Percent, as HAProxy has it; nothing with the other providers.",
            stacked=True,
        ),
        Panel(
            "Errors by revision",
            {
                REVISION: f"revision:request_errors:rate5m{{{CHOSEN}}}"
                f" / (revision:requests:rate5m{{{CHOSEN}}} > 0)"
            },
            "percentunit",
        ),
        Panel(
            "p95 by revision",
            {REVISION: f'revision:request_duration_seconds:quantile5m{{{CHOSEN},quantile="0.95"}}'},
            "s",
        ),
        Panel(
            "Agreement of a shadow",
            {
                REVISION: (
                    f"sum by ({BY_REVISION}) ({_rate('shadow_predictions_total', AGREED)})"
                    f" / (sum by ({BY_REVISION}) ({_rate('shadow_predictions_total')}) > 0)"
                )
            },
            "percentunit",
        ),
        Panel(
            "Copies for a shadow",
            {
                "{{model_deployment}} {{outcome}}": (
                    "sum by (namespace, model_deployment, outcome)"
                    f" ({_rate('mirror_requests_total')})"
                )
            },
            "reqps",
        ),
        Panel(
            "Answers of the router",
            {
                "{{model_deployment}} {{revision}} {{code}}": (
                    "sum by (namespace, model_deployment, revision, code)"
                    f" ({_rate('model_router_requests_total', ROUTED)})"
                )
            },
            "reqps",
        ),
        Panel(
            "Requests sent again",
            {
                "to another pod, {{model_deployment}} {{revision}}": (
                    "sum by (namespace, model_deployment, revision)"
                    f" ({_rate('model_router_retries_total', ROUTED)})"
                ),
                "elsewhere, {{model_deployment}} {{revision}}": (
                    "sum by (namespace, model_deployment, revision)"
                    f" ({_rate('model_router_redispatches_total', ROUTED)})"
                ),
            },
            "reqps",
            "By the router: clients did not notice.",
        ),
    ],
)

OPERATOR_PAGE = Dashboard(
    uid="cv-factory-operator",
    title="CV Factory / Operator",
    variables={"namespace": "label_values(cv_factory_build_info, namespace)"},
    panels=[
        Panel(
            "Leads",
            {"{{pod}}": f"cv_factory_leader{{{OPERATOR}}}"},
            words="One of them.",
            stacked=True,
        ),
        Panel(
            "Rollouts",
            {
                "under way": f"max(cv_factory_rollouts{{{OPERATOR}}})",
                "waiting for their turn": f"max(cv_factory_rollouts_waiting{{{OPERATOR}}})",
                "stalled resources": f"max(cv_factory_resources_stalled{{{OPERATOR}}})",
                "without a ready pod": f"max(cv_factory_resources_unavailable{{{OPERATOR}}})",
            },
        ),
        Panel(
            "The oldest rollout",
            {"under way for": f"max(cv_factory_rollouts_oldest_seconds{{{OPERATOR}}})"},
            "s",
            limit=7200,
        ),
        Panel(
            "Passes",
            {
                "{{outcome}}": "sum by (outcome)"
                f" ({_rate('cv_factory_reconcile_duration_seconds_count', OPERATOR)})"
            },
            "ops",
        ),
        Panel(
            "How long passes take",
            {
                f"p{share * 100:g}": _quantile(
                    share, "cv_factory_reconcile_duration_seconds", "job", OPERATOR
                )
                for share in (0.5, 0.95, 0.99)
            },
            "s",
        ),
        Panel(
            "Queue",
            {
                "resources": f"sum(cv_factory_queue_depth{{{OPERATOR}}})",
                "seconds of the oldest": f"max(cv_factory_queue_oldest_wait_seconds{{{OPERATOR}}})",
            },
        ),
        Panel(
            "Calls of the API server",
            {
                "{{verb}} {{kind}} {{code}}": "sum by (verb, kind, code)"
                f" ({_rate('cv_factory_api_calls_total', OPERATOR)})"
            },
            "reqps",
        ),
        Panel(
            "How long it takes to answer",
            {
                "p95 {{verb}} {{kind}}": _quantile(
                    0.95, "cv_factory_api_call_duration_seconds", "verb, kind", OPERATOR
                )
            },
            "s",
        ),
        Panel(
            "What is watched",
            {"{{kind}}": f"max by (kind) (cv_factory_watched_objects{{{OPERATOR}}})"},
        ),
        Panel(
            "Age of what is known",
            {"{{kind}}": f"max by (kind) (cv_factory_watch_age_seconds{{{OPERATOR}}})"},
            "s",
            limit=180,
        ),
        Panel(
            "What watches left out",
            {
                "found by a sweep, {{kind}}": "sum by (kind)"
                f" (increase(cv_factory_sweep_differences_total{{{OPERATOR}}}[$__rate_interval]))",
                "never told, {{kind}}": "sum by (kind)"
                f" (increase(cv_factory_watch_missed_total{{{OPERATOR}}}[$__rate_interval]))",
            },
        ),
        Panel(
            "Records for MLflow",
            {
                "waiting": f"max(cv_factory_tracker_waiting{{{OPERATOR}}})",
                "{{outcome}} a second": "sum by (outcome)"
                f" ({_rate('cv_factory_tracker_records_total', OPERATOR)})",
            },
        ),
        Panel("Memory", {"{{pod}}": f"process_resident_memory_bytes{{{OPERATOR}}}"}, "bytes"),
        Panel("CPU", {"{{pod}}": _rate("process_cpu_seconds_total", OPERATOR)}, "percentunit"),
        Panel(
            "Versions",
            {"{{version}}": f"count by (version) (cv_factory_build_info{{{OPERATOR}}})"},
        ),
    ],
)

PAGES = (MODEL_PAGE, ROLLOUT_PAGE, OPERATOR_PAGE)


def files() -> dict[PurePath, str]:
    """The dashboards' JSON, by their paths in the repository."""
    return {
        FOLDER / f"{page.uid.removeprefix('cv-factory-')}.json": render(page, ORIGIN)
        for page in PAGES
    }
