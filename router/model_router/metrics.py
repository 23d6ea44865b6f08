"""The router's counters by revision, in Prometheus' text format; `web` serves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from model_router.agent import Answer

Row = Mapping[str, str]

_COUNTERS = {
    "model_router_retries_total": ("wretr", "Requests sent again to the same revision."),
    "model_router_redispatches_total": (
        "wredis",
        "Requests that this revision did not take and that went to another server.",
    ),
    "model_router_connection_errors_total": ("econ", "Connections that the revision refused."),
}
_CLASSES = ("2xx", "3xx", "4xx", "5xx")


def exposition(
    answer: Answer,
    slots: Mapping[str, str],
    counters: Mapping[str, Row],
    bases: Mapping[str, Row],
) -> str:
    """All metrics. A revision's counters begin when a route first names it."""
    return "".join(f"{line}\n" for line in _lines(answer, slots, counters, bases))


def _lines(
    answer: Answer,
    slots: Mapping[str, str],
    counters: Mapping[str, Row],
    bases: Mapping[str, Row],
) -> Iterator[str]:
    rows = {revision: slot for revision, slot in slots.items() if slot in counters}

    def value(slot: str, name: str) -> int:
        return int(counters[slot][name] or 0) - int(bases.get(slot, {}).get(name) or 0)

    yield from _head("model_router_requests_total", "counter", "Answers by revision and status.")
    for revision, slot in rows.items():
        for status in _CLASSES:
            labels = f'revision="{revision}",code="{status}"'
            yield f"model_router_requests_total{{{labels}}} {value(slot, f'hrsp_{status}')}"
    for name, (column, words) in _COUNTERS.items():
        yield from _head(name, "counter", words)
        for revision, slot in rows.items():
            yield f'{name}{{revision="{revision}"}} {value(slot, column)}'
    yield from _head("model_router_weight", "gauge", "Percent of the requests, as HAProxy has it.")
    for revision, weight in answer.weights.items():
        yield f'model_router_weight{{revision="{revision}"}} {weight}'
    yield from _head("model_router_connections", "gauge", "Open connections of clients.")
    yield f"model_router_connections {counters.get('clients', {}).get('scur') or 0}"
    yield from _head("model_router_ready", "gauge", "1 while clients may be sent here.")
    yield f"model_router_ready {int(answer.ready)}"
    yield from _head("model_router_draining", "gauge", "1 after SIGTERM.")
    yield f"model_router_draining {int(answer.draining)}"


def _head(name: str, kind: str, words: str) -> tuple[str, str]:
    return f"# HELP {name} {words}", f"# TYPE {name} {kind}"
