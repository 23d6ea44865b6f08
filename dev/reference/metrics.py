"""Every metric of every process, from the collectors themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from dev.reference.markdown import table
from model_operator.metrics import Metrics as OperatorMetrics
from model_router.agent import Answer
from model_router.metrics import exposition
from model_server.metrics import Metrics as ServerMetrics

INTRODUCTION = """\
# Metrics

Names, types and labels as the processes show them under `/metrics`: servers on port 8000, routers
on 8001, the operator on 8080. How to read them: [server](../server.md#metrics),
[router](../router.md#a-new-weight), [operator](../operator.md#watching-the-operator); rules and
alerts over them: [Prometheus and Grafana](../observability.md).
"""

TITLES = ["metric", "type", "labels", "meaning"]
OWN = "Each sample also has `model_name`, `model_version` and `revision`.\n\n"


def page() -> str:
    """The whole page."""
    return "".join(
        (
            INTRODUCTION,
            "\n## The model server\n\n",
            OWN,
            table(TITLES, _collected(ServerMetrics()._registry)),
            "\n## The router\n\n",
            table(TITLES, _routers()),
            "\n## The operator\n\n",
            table(TITLES, _collected(OperatorMetrics("").registry)),
        )
    )


def _collected(registry: Any) -> Iterator[list[str]]:
    """Without those of the process and the interpreter, which prometheus_client documents."""
    for collector in registry._collector_to_names:
        if name := getattr(collector, "_name", ""):
            total = "_total" if collector._type == "counter" else ""
            yield _row(f"{name}{total}", collector._type, collector._labelnames, collector)


def _row(name: str, kind: str, labels: Any, collector: Any) -> list[str]:
    shown = ", ".join(f"`{label}`" for label in labels)
    return [f"`{name}`", kind, shown, collector._documentation]


def _routers() -> Iterator[list[str]]:
    """From an exposition for one revision whose counters are all 0."""
    columns = ("hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "wretr", "wredis", "econ", "scur")
    row = dict.fromkeys(columns, "0")
    text = exposition(Answer("", {"a": 0}), {"a": "slot"}, {"slot": row, "clients": row}, {})
    for family in text_string_to_metric_families(text):
        total = "_total" if family.type == "counter" else ""
        labels = {label: None for sample in family.samples for label in sample.labels}
        shown = ", ".join(f"`{label}`" for label in labels)
        yield [f"`{family.name}{total}`", family.type, shown, family.documentation]
