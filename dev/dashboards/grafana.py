"""Panels and dashboards as Grafana's JSON: only what a panel's author decides is said elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]

COLUMNS = 24
HEIGHT = 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """One picture: queries with the names of their lines."""

    title: str
    queries: dict[str, str]
    """From a legend (`{{label}}` is filled in) to its query."""
    unit: str = "short"
    """Grafana's name of a unit: s, reqps, percentunit, bytes."""
    words: str = ""
    """What to read in it."""
    kind: str = "timeseries"
    stacked: bool = False
    width: int = 8
    limit: float | None = None
    """Drawn as a line."""


@dataclass(frozen=True)
class Dashboard:
    """A page of panels, with what can be chosen above it."""

    uid: str
    title: str
    panels: Sequence[Panel]
    variables: dict[str, str] = field(default_factory=dict)
    """From a name to the query of its values."""
    events: dict[str, str] = field(default_factory=dict)
    """From a name to a query: whenever it has a result, a line is drawn through all panels."""


def render(dashboard: Dashboard, origin: str) -> str:
    """The JSON file; its first line says where it comes from."""
    body = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["cv-factory"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": list(_variables(dashboard))},
        "annotations": {"list": [_event(*event) for event in dashboard.events.items()]},
        "panels": list(_laid_out(dashboard.panels)),
    }
    text = json.dumps(body, indent=2)
    return f'{{"description": {json.dumps(origin)},{text.removeprefix("{")}\n'


def _variables(dashboard: Dashboard) -> Iterator[Body]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    for name, query in dashboard.variables.items():
        yield {
            "name": name,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }


def _event(name: str, query: str) -> Body:
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": query,
        "titleFormat": name,
        "textFormat": "{{model_deployment}}: {{revision}}",
    }


def _laid_out(panels: Sequence[Panel]) -> Iterator[Body]:
    x = y = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        yield _panel(panel, number) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT}}
        x += panel.width


def _panel(panel: Panel, number: int) -> Body:
    custom = {"fillOpacity": 10, "stacking": {"mode": "normal" if panel.stacked else "none"}}
    defaults: Body = {"unit": panel.unit}
    options: Body = {}
    if panel.kind == "timeseries":
        defaults |= {"min": 0, "custom": custom}
        options = {"tooltip": {"mode": "multi", "sort": "desc"}}
    if panel.limit is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.limit}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.words,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": f"Q{index}", "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }
