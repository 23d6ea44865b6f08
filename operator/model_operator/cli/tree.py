"""One ModelDeployment as a tree of lines, for `status`. Pure: bodies in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from model_operator import diagnosis, naming, reasons, sources
from model_operator.cli import describe
from model_operator.cli.outcome import condition
from model_operator.cli.terminal import Style

Body = Mapping[str, Any]

_PHASES = {"Healthy": "good", "Degraded": "bad"}
_VERDICTS = {"Pass": "good", "Fail": "bad", "NoData": "busy"}


@dataclass(frozen=True)
class Snapshot:
    """What the tree is drawn of."""

    resource: Body
    pods: Sequence[Body] | None
    """None when this user may not list them."""
    now: datetime


@dataclass(frozen=True)
class Node:
    """One line and what belongs to it."""

    text: str
    children: list[Node] = field(default_factory=list)


def render(snapshot: Snapshot, style: Style) -> list[str]:
    """The whole tree."""
    return list(_draw(_resource(snapshot, style), style))


def _draw(node: Node, style: Style, lead: str = "") -> Iterator[str]:
    yield node.text
    branch, last, bar = ("├─ ", "└─ ", "│  ") if style.unicode else ("|- ", "`- ", "|  ")
    for child in node.children:
        is_last = child is node.children[-1]
        first, *rest = _draw(child, style, lead)
        yield (last if is_last else branch) + first
        yield from (("   " if is_last else bar) + line for line in rest)


def _resource(snapshot: Snapshot, style: Style) -> Node:
    body = snapshot.resource
    metadata, status = body["metadata"], body.get("status") or {}
    phase = status.get("phase") or "Pending"
    title = style.mark(f"modeldeployment/{metadata['name']}", "bold")
    words = status.get("message") or "the operator has not looked at it yet: is it running?"
    shown = style.mark(phase, _PHASES.get(phase, "busy"))
    children = [
        *_facts(snapshot, style),
        *_revisions(snapshot, style),
        *_analysis(status, style),
        *_troubles(body, style),
    ]
    return Node(f"{title} in {metadata['namespace']}   {shown}   {words}", children)


def _facts(snapshot: Snapshot, style: Style) -> Iterator[Node]:
    body = snapshot.resource
    spec, status = body["spec"], body.get("status") or {}
    model = status.get("model") or {}
    resolved = model.get("requested") == spec["model"]
    version = f": version {model['version']}" if resolved else ": not resolved"
    yield _fact("model", f"{sources.shown(spec['model']['uri'])}{version}", style)
    if status.get("url"):
        yield _fact("endpoint", status["url"], style)
    strategy = (spec.get("strategy") or {}).get("type", "Standard")
    at = describe.step(body)
    since = describe.age(status.get("stepStartedAt"), snapshot.now)
    under_way = f", {at}{f' (for {since})' if since else ''}" if at else ""
    yield _fact("strategy", f"{strategy}{under_way}{_pause(body)}", style)


def _pause(body: Body) -> str:
    """Who has paused the rollout. What an action said holds until the next generation."""
    asked = bool(body["spec"].get("paused"))
    held = (body.get("status") or {}).get("heldPause") or {}
    if held.get("generation") != body["metadata"].get("generation"):
        return "; paused by spec.paused" if asked else ""
    if held["paused"]:
        return "; paused by an action"
    return "; spec.paused is set, resumed by an action" if asked else ""


def _fact(name: str, words: str, style: Style) -> Node:
    return Node(f"{style.mark(f'{name:<10}', 'faint')} {words}")


def _revisions(snapshot: Snapshot, style: Style) -> Iterator[Node]:
    """Stable and canary with their pods, then pods of others that still run."""
    status = snapshot.resource.get("status") or {}
    entries = describe.weights(snapshot.resource)
    named = set()
    for role in ("stable", "canary"):
        told = status.get(role)
        if not told:
            continue
        revision = told["revision"]
        named.add(revision)
        ready = f"{told.get('readyReplicas', 0)} ready"
        version = f"version {told['version']}" if told.get("version") else ""
        parts = (revision, version, describe.weight(entries.get(revision)), ready)
        text = "   ".join(part for part in parts if part)
        line = _fact(role, text, style).text
        yield Node(line, list(_pods(snapshot, revision, style)))
    if snapshot.pods is None:
        yield Node(style.mark("pods are not shown: you may not list them", "faint"))
        return
    others = {pod["metadata"].get("labels", {}).get(naming.REVISION_LABEL) for pod in snapshot.pods}
    for revision in sorted(other for other in others - named if other):
        role = "retiring" if revision == status.get("retiring") else "other"
        line = _fact(role, revision, style).text
        yield Node(line, list(_pods(snapshot, revision, style)))


def _pods(snapshot: Snapshot, revision: str, style: Style) -> Iterator[Node]:
    for pod in sorted(snapshot.pods or (), key=lambda pod: str(pod["metadata"]["name"])):
        if pod["metadata"].get("labels", {}).get(naming.REVISION_LABEL) == revision:
            yield Node(_pod(pod, style))


def _pod(pod: Body, style: Style) -> str:
    containers = pod.get("status", {}).get("containerStatuses") or ()
    restarts = sum(container.get("restartCount", 0) for container in containers)
    if diagnosis.is_terminating(pod):
        state = style.mark("ending", "faint")
    elif diagnosis.is_ready(pod):
        state = style.mark("ready", "good")
    else:
        state = style.mark("not ready", "busy")
    count = f", {restarts} restart{'' if restarts == 1 else 's'}" if restarts else ""
    trouble = None
    if not diagnosis.is_ready(pod):
        trouble = diagnosis.diagnose([pod], None, {})
    why = f": {style.mark(trouble.message, 'bad')}" if trouble else ""
    return f"pod {pod['metadata']['name']}   {state}{count}{why}"


def _analysis(status: Body, style: Style) -> Iterator[Node]:
    metrics = status.get("analysis")
    if metrics:
        nodes = [Node(_metric(metric, style)) for metric in metrics]
        yield Node(style.mark("analysis", "faint"), nodes)


def _metric(metric: Body, style: Style) -> str:
    """A metric's value, what it was compared with, and from how many requests."""
    verdict = style.mark(f"{metric['verdict']:<6}", _VERDICTS[metric["verdict"]])
    value = f"{metric['value']:g}" if "value" in metric else "no value"
    parts = [value]
    if "baseline" in metric:
        parts.append(f"stable {metric['baseline']:g}")
    if metric.get("samples"):
        parts.append(f"of {metric['samples']} requests")
    if metric.get("failures"):
        parts.append(f"failures in a row: {metric['failures']}")
    if metric.get("message"):
        parts.append(metric["message"])
    return f"{metric['name']:<18} {verdict}   {', '.join(parts)}"


_FINE = {
    reasons.AVAILABLE: "True",
    reasons.READY: "True",
    reasons.MODEL_RESOLVED: "True",
    reasons.STALLED: "False",
}
"""Conditions, with the status that needs no attention."""


def _troubles(body: Body, style: Style) -> Iterator[Node]:
    status = body.get("status") or {}
    for kind, fine in _FINE.items():
        found = condition(body, kind)
        told = kind == reasons.READY and found.get("message") == status.get("message")
        if found and found["status"] != fine and not told:
            mark = "bad" if kind in (reasons.STALLED, reasons.AVAILABLE) else "busy"
            name = style.mark(f"{kind}={found['status']}", mark)
            yield Node(f"{name} {found['reason']}: {found['message']}")
    if failure := status.get("lastFailure"):
        name = style.mark("last failure", "bad")
        words = f"{failure['revision']}: {failure['reason']}: {failure['message']}"
        yield Node(f"{name} {words}")
    generation = body["metadata"].get("generation")
    if status and status.get("observedGeneration") != generation:
        seen = status.get("observedGeneration")
        words = f"the operator has seen generation {seen} of {generation}"
        yield Node(style.mark(words, "busy"))
