"""What a deploy would do: what differs, and the steps of the rollout. Pure; for `--dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from model_operator import revisions, sources, validation
from model_operator.cli.arguments import PROGRAM

Body = Mapping[str, Any]

_MISSING = object()


@dataclass(frozen=True)
class Preview:
    """What would happen to one resource."""

    name: str
    namespace: str
    verb: str
    """create, change, or nothing."""
    differences: tuple[str, ...] = ()
    revision: str = ""
    """One sentence on the revision that it means."""
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refusal: str | None = None
    """Why the operator would refuse it."""

    def lines(self) -> list[str]:
        """For people."""
        words = "nothing would change" if self.verb == "nothing" else f"would {self.verb}"
        lines = [f"modeldeployment/{self.name} in {self.namespace}: {words}"]
        lines += [f"  {difference}" for difference in self.differences]
        if self.refusal:
            return [*lines, f"  the operator would refuse it: {self.refusal}"]
        lines += [f"  {self.revision}"] if self.revision else []
        lines += [f"  {number}. {step}" for number, step in enumerate(self.steps, 1)]
        return lines + [f"  {note}" for note in self.notes]

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def preview(live: Body | None, asked: Body) -> Preview:
    """What becomes of `live` (None: there is nothing yet) when `asked`, as the API server would
    store it, is applied.
    """
    metadata, spec = asked["metadata"], asked["spec"]
    before = live["spec"] if live else {}
    differences = tuple(_differences(before, spec, "spec")) if live else ()
    verb = "create" if live is None else "change" if _changes(live, asked) else "nothing"
    base = Preview(metadata["name"], metadata["namespace"], verb, differences)
    if refusal := validation.refusal(asked):
        return Preview(**{**vars(base), "refusal": refusal})
    if live is None or _is_new(before, spec):
        status = (live or {}).get("status") or {}
        stable = (status.get("stable") or {}).get("revision")
        return Preview(
            **{
                **vars(base),
                "revision": _meant(before, spec, status),
                "steps": tuple(steps(spec, stable, metadata["name"])),
                "notes": tuple(_notes(spec)),
            }
        )
    kept = "the revision stays as it is: no pod starts anew" if differences else ""
    return Preview(**{**vars(base), "revision": kept})


def steps(spec: Body, stable: str | None, name: str) -> Iterator[str]:
    """The rollout to a new revision, in words."""
    if stable is None:
        yield "start it; it gets the requests when all of its pods are ready"
        return
    strategy = spec.get("strategy") or {}
    kind = strategy.get("type", "Standard")
    if kind == "Recreate":
        yield f"stop revision {stable}: nothing serves from here on"
        yield "start the new revision; it gets the requests when all of its pods are ready"
        return
    promote = f"wait until it is promoted: {PROGRAM} promote {name}"
    yield f"start it beside revision {stable}"
    if kind == "Canary":
        for step in (strategy.get("canary") or {}).get("steps") or ():
            yield step_in_words(step, promote)
    elif kind == "BlueGreen":
        if not (strategy.get("blueGreen") or {}).get("autoPromote"):
            yield f"it waits on {name}-preview; {promote}"
    elif kind == "Shadow":
        shadow = strategy.get("shadow") or {}
        agreement, samples = shadow.get("minAgreement", 0.98), shadow.get("minSamples", 200)
        yield f"copies of {shadow.get('percent', 100)}% of the requests to it"
        yield f"wait until {agreement:.0%} of at least {samples} predictions agree"
    yield "all requests to the new revision"
    yield f"keep revision {stable} for {strategy.get('scaleDownDelaySeconds', 30)}s, then stop it"


def step_in_words(step: Body, promote: str = "wait until it is promoted") -> str:
    """One step of a canary.

    >>> step_in_words({"pause": {"duration": "5m"}})
    'wait 5m'
    """
    if "setWeight" in step:
        return f"{step['setWeight']}% of the requests to the new revision"
    pause = (step.get("pause") or {}).get("duration")
    return f"wait {pause}" if pause else promote


def _is_new(before: Body, spec: Body) -> bool:
    """Whether another revision may be meant."""
    return any(before.get(part) != spec.get(part) for part in ("model", "server"))


def _meant(before: Body, spec: Body, status: Body) -> str:
    uri, pin = sources.shown(spec["model"]["uri"]), spec["model"].get("sha256")
    known = (status.get("model") or {}).get("sha256")
    digest = pin or (known if before.get("model") == spec["model"] else None)
    if not digest:
        return f"a new revision, of {uri}; its id is known when the model is resolved"
    revision = revisions.revision_id(digest, spec.get("server") or {})
    stable = (status.get("stable") or {}).get("revision")
    if revision == stable:
        return f"revision {revision}, which serves already: no pod starts anew"
    if revision == status.get("failedRevision"):
        return f"revision {revision}, which has failed: it is tried again by `retry` alone"
    return f"revision {revision}, of {uri}"


def _notes(spec: Body) -> Iterator[str]:
    if spec.get("paused"):
        yield "paused: none of this begins before spec.paused is false"
    analysis = spec.get("analysis")
    if analysis:
        metrics = ", ".join(_limits(metric) for metric in analysis.get("metrics") or ())
        failures = _ordinal(analysis.get("failureLimit", 2) + 1)
        yield (
            f"analysis every {analysis.get('interval', '30s')}: {metrics}; the {failures} failure "
            "in a row aborts the rollout"
        )


def _limits(metric: Body) -> str:
    limits = []
    if "max" in metric:
        limits.append(f"at most {metric['max']:g}")
    if "min" in metric:
        limits.append(f"at least {metric['min']:g}")
    if "maxRatioToStable" in metric:
        limits.append(f"at most {metric['maxRatioToStable']:g} times stable's")
    return f"{metric['name']} {' and '.join(limits)}"


def _ordinal(number: int) -> str:
    """How a place in a row is written.

    >>> [_ordinal(n) for n in (1, 2, 3, 4, 11, 21)]
    ['1st', '2nd', '3rd', '4th', '11th', '21st']
    """
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else last}"


def _changes(live: Body, asked: Body) -> bool:
    """Whether anything that people write differs."""
    parts = ("labels", "annotations")
    metadata = [
        (live["metadata"].get(part) or {}) != (asked["metadata"].get(part) or {}) for part in parts
    ]
    return live["spec"] != asked["spec"] or any(metadata)


def _differences(before: Any, after: Any, where: str) -> Iterator[str]:
    """Every leaf that differs, by its path."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            old, new = before.get(key, _MISSING), after.get(key, _MISSING)
            yield from _differences(old, new, f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{where}[{index}]")
    else:
        yield f"{where}: {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    if value is _MISSING:
        return "(absent)"
    return sources.shown(value) if isinstance(value, str) and value else repr(value)
