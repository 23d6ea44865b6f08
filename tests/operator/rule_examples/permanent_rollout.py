"""Examples for the permanent rules of how it goes live: strategy, analysis and traffic."""

from __future__ import annotations

from model_operator import api
from tests.operator.rule_examples.examples import Examples
from tests.operator.rule_examples.resources import (
    CANARY,
    ERROR_RATE,
    FIELD_NAMES,
    LATENCY,
    PLAIN,
    PROMETHEUS,
    analysis,
    gateway,
    resource,
    router,
    steps,
    strategy,
    traffic,
    weights,
)

ROLLOUT = (
    Examples(
        "spec.strategy",
        "canary belongs to",
        (PLAIN, CANARY),
        (
            strategy("Standard", canary={"steps": [{"setWeight": 10}]}),
            strategy("Shadow", canary={"steps": [{"setWeight": 10}]}),
        ),
    ),
    Examples(
        "spec.strategy",
        "blueGreen belongs to",
        (PLAIN, strategy("BlueGreen"), strategy("BlueGreen", blueGreen={"autoPromote": True})),
        (
            strategy("Recreate", blueGreen={}),
            resource(strategy={"blueGreen": {"autoPromote": True}}),
        ),
    ),
    Examples(
        "spec.strategy",
        "shadow belongs to",
        (PLAIN, strategy("Shadow"), strategy("Shadow", shadow={"percent": 5})),
        (strategy("BlueGreen", shadow={}), strategy("Standard", shadow={"minSamples": 5})),
    ),
    Examples("spec.strategy", "type Canary needs canary", (PLAIN, CANARY), (strategy("Canary"),)),
    Examples(
        "spec.strategy.canary.steps[]",
        "either setWeight or pause",
        (
            CANARY,
            steps({"setWeight": 10}, {"pause": {}}, {"pause": {"duration": "5m"}}),
        ),
        (
            steps({"setWeight": 10, "pause": {}}),
            steps({}),
            steps({"setWeight": 10}, {}),
        ),
    ),
    Examples(
        "spec.strategy.canary.steps",
        "larger than the one before",
        (
            weights(1),
            weights(1, 2, 100),
            weights(9, 10),
            steps({"pause": {}}),
            steps({"setWeight": 5}, {"pause": {}}, {"setWeight": 50}),
        ),
        (
            weights(50, 10),
            weights(10, 10),
            weights(10, 50, 20),
            steps({"setWeight": 5}, {"pause": {}}, {"setWeight": 5}),
        ),
    ),
    Examples(
        "spec.strategy.canary.steps[].pause.duration",
        "unit",
        (
            steps({"pause": {}}),
            *(steps({"pause": {"duration": text}}) for text in ("1s", "30s", "5m", "99999h")),
        ),
        tuple(
            steps({"pause": {"duration": text}})
            for text in ("", "5", "0s", "05m", "5 m", "5min", "-5m", "1.5h", "5M", "2d", "5m\n")
        ),
    ),
    Examples(
        "spec",
        "needs strategy",
        (PLAIN, analysis(), analysis(kind="BlueGreen"), analysis(kind="Shadow")),
        (analysis(kind="Standard"), analysis(kind="Recreate")),
    ),
    Examples(
        "spec.analysis.interval",
        "unit",
        (analysis(), analysis(interval="1m")),
        (analysis(interval="60"), analysis(interval="0m")),
    ),
    Examples(
        "spec.analysis.metrics",
        "name of its own",
        (analysis(ERROR_RATE, LATENCY, {"name": "mine", "max": 1, "prometheus": PROMETHEUS}),),
        (analysis(ERROR_RATE, LATENCY, ERROR_RATE),),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "needs a limit",
        (
            analysis({"name": "error-rate", "max": 0}),
            analysis({"name": "latency-p95-ms", "maxRatioToStable": 1.5}),
            analysis({"name": "mine", "min": 0.9, "prometheus": PROMETHEUS}),
        ),
        (
            analysis({"name": "error-rate"}),
            analysis({"name": "mine", "prometheus": PROMETHEUS}),
        ),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "no value passes",
        (
            analysis(ERROR_RATE),
            analysis({"name": "mine", "min": 0.9, "prometheus": PROMETHEUS}),
            analysis({"name": "latency-p95-ms", "min": 1, "max": 300}),
            analysis({"name": "latency-p95-ms", "min": 300, "max": 300.0}),
        ),
        (analysis({"name": "latency-p95-ms", "min": 301, "max": 300.5}),),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "built in",
        (
            *(analysis({"name": name, "max": 1}) for name in sorted(api.BUILT_IN_METRICS)),
            analysis({"name": "mine", "max": 1, "prometheus": PROMETHEUS}),
            analysis({"name": "error-rate", "max": 1, "prometheus": PROMETHEUS}),
        ),
        (analysis({"name": "mine", "max": 1}), analysis({"name": "latency-p95", "max": 1})),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "not percent",
        (
            analysis({"name": "error-rate", "min": 0, "max": 1}),
            analysis({"name": "error-rate", "max": 0}),
            analysis({"name": "error-rate", "min": 1}),
            analysis({"name": "error-rate", "maxRatioToStable": 2}),
            analysis({"name": "error-rate", "max": 5, "prometheus": PROMETHEUS}),
            analysis({"name": "latency-p95-ms", "max": 300}),
        ),
        (
            analysis({"name": "error-rate", "max": 5}),
            analysis({"name": "error-rate", "max": 1.01}),
            analysis({"name": "error-rate", "max": 0.5, "min": -0.1}),
            analysis({"name": "class-mismatch", "max": 20}),
        ),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "compares with the stable revision already",
        (
            analysis({"name": "class-mismatch", "max": 0.2}),
            analysis({"name": "error-rate", "maxRatioToStable": 2}),
        ),
        (analysis({"name": "class-mismatch", "max": 0.2, "maxRatioToStable": 2}),),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "about the stable revision too",
        (
            analysis({"name": "mine", "max": 1, "prometheus": PROMETHEUS}),
            analysis(
                {
                    "name": "mine",
                    "maxRatioToStable": 2,
                    "prometheus": {"query": 'sum(x{revision="$(revision)"})'},
                }
            ),
        ),
        (analysis({"name": "mine", "maxRatioToStable": 2, "prometheus": PROMETHEUS}),),
    ),
    Examples(
        "spec.analysis.metrics[]",
        "choose another name",
        (analysis({"name": "shadow", "max": 1, "prometheus": PROMETHEUS}),),
        (analysis({"name": "shadow-agreement", "max": 1, "prometheus": PROMETHEUS}),),
    ),
    Examples(
        "spec.traffic",
        "gateway belongs to",
        (PLAIN, traffic(provider="Router"), gateway()),
        (
            traffic(provider="Service", gateway={"parentRefs": [{"name": "front"}]}),
            traffic(gateway={"parentRefs": [{"name": "front"}]}),
            traffic(provider="Router", gateway={"parentRefs": [{"name": "front"}]}),
        ),
    ),
    Examples(
        "spec.traffic",
        "provider GatewayAPI needs gateway",
        (PLAIN, gateway()),
        (traffic(provider="GatewayAPI"),),
    ),
    Examples(
        "spec.traffic",
        "router belongs to",
        (PLAIN, traffic(provider="Router"), router(replicas=3)),
        (traffic(router={}), traffic(provider="Service", router={"replicas": 3})),
    ),
    Examples(
        "spec.traffic.router.sticky",
        "either header or cookie",
        (
            router(),
            router(sticky={"header": "X-User"}),
            router(sticky={"cookie": "uid"}),
        ),
        (router(sticky={}), router(sticky={"header": "X-User", "cookie": "uid"})),
    ),
    *(
        Examples(
            f"spec.traffic.router.{path}",
            "name of a header or cookie",
            tuple(router(**settings(name)) for name in ("X-User", "a_b", "session.id", "7")),
            tuple(router(**settings(name)) for name in ("X User", "X-User:", "ä", "a'b", "a\n")),
        )
        for path, settings in FIELD_NAMES.items()
    ),
    Examples(
        "spec.traffic.gateway.hostnames[]",
        "host name",
        (gateway(), gateway(hostnames=["cats.example.com", "*.example.com", "a", "1.2"])),
        (
            gateway(hostnames=["https://cats.example.com"]),
            gateway(hostnames=["cats.example.com", "Cats.example.com"]),
            gateway(hostnames=["cats.*.com"]),
            gateway(hostnames=["-a.com"]),
            gateway(hostnames=["a.com."]),
        ),
    ),
)
