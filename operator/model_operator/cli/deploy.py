"""`kubectl md deploy`: applies ModelDeployments and waits for them, or says what would happen."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any

from model_operator import api
from model_operator.cli import describe, manifests, outcome
from model_operator.cli.errors import Exit, Failed
from model_operator.cli.outcome import End, Outcome, Release
from model_operator.cli.preview import Preview, preview
from model_operator.cli.session import Session, as_json, no_answer, sentence, session
from model_operator.cli.terminal import Progress
from model_operator.errors import ApiError, ApiUnreachable

Body = Mapping[str, Any]

POLL_SECONDS = 1.0
_STATUSES = {End.FAILED: Exit.FAILED, End.TIMEOUT: Exit.NOT_IN_TIME}


async def run(arguments: argparse.Namespace) -> Exit:
    """Applies all of the file's resources, or previews them."""
    async with session(arguments) as opened:
        bodies = manifests.read(arguments.filename, arguments.namespace, opened.namespace)
        previews = await _try(opened, bodies, arguments)
        if arguments.dry_run:
            return _show(previews, as_data=arguments.json)
        progress = Progress(quiet=arguments.json)
        applied = [await opened.apply(body, force=arguments.force_conflicts) for body in bodies]
        releases = [Release.of(body) for body in applied]
        if not arguments.wait:
            return _applied(releases, applied, progress, as_data=arguments.json)
        return await _wait(opened, releases, arguments.timeout, progress)


async def _try(
    opened: Session, bodies: list[dict[str, Any]], arguments: argparse.Namespace
) -> list[Preview]:
    """What each would become. Nothing is applied unless the API server accepts all of them."""
    previews = []
    for body in bodies:
        metadata = body["metadata"]
        live = await opened.cluster.get(api.KIND, metadata["namespace"], metadata["name"])
        try:
            asked = await opened.apply(body, force=arguments.force_conflicts, dry_run=True)
        except ApiError as error:
            words = f"{metadata['namespace']}/{metadata['name']}: {sentence(error)}"
            if arguments.wait or arguments.json:
                release = Release(metadata["name"], metadata["namespace"], "", 0)
                refused = Outcome(End.REFUSED, "ApplyRefused", words)
                _write(outcome.result(release, live, refused, 0.0))
            raise Failed(words) from error
        previews.append(preview(live, asked))
    return previews


def _show(previews: list[Preview], *, as_data: bool) -> Exit:
    for shown in previews:
        lines = [as_json(shown.as_dict())] if as_data else shown.lines()
        sys.stdout.write("\n".join(lines) + "\n")
    return Exit.FAILED if any(shown.refusal for shown in previews) else Exit.DONE


def _applied(
    releases: list[Release], bodies: list[dict[str, Any]], progress: Progress, *, as_data: bool
) -> Exit:
    for release, body in zip(releases, bodies, strict=True):
        if as_data:
            applied = Outcome(End.APPLIED, "Applied", "applied; nothing was waited for")
            _write(outcome.result(release, body, applied, progress.seconds))
        else:
            where = f"modeldeployment/{release.name} in {release.namespace}"
            sys.stdout.write(f"{where}: applied, generation {release.generation}\n")
    return Exit.DONE


async def _wait(
    opened: Session, releases: list[Release], seconds: float, progress: Progress
) -> Exit:
    """Waits for each release in turn: they go on at the same time, and so does the timeout."""
    deadline = time.monotonic() + seconds
    worst = Exit.DONE
    results = []
    for release in releases:
        body, ended = await _end_of(opened, release, deadline, progress)
        results.append(outcome.result(release, body, ended, progress.seconds))
        progress.end(f"{release.name}  {ended.end}  {ended.reason}: {ended.message}")
        worst = max(worst, _STATUSES.get(ended.end or End.TIMEOUT, Exit.DONE))
    for result in results:
        _write(result)
    return worst


async def _end_of(
    opened: Session, release: Release, deadline: float, progress: Progress
) -> tuple[Body | None, Outcome]:
    """How one release ended, with the resource as it was then. An API server that does not
    answer for a while ends nothing.
    """
    body: Body | None = None
    seen = Outcome(None, "NotObserved", "nothing is known of it yet")
    while True:
        try:
            body = await opened.cluster.get(api.KIND, release.namespace, release.name)
        except (ApiError, ApiUnreachable) as error:
            words = no_answer(error)
            if words is None:
                raise
            seen = Outcome(None, "ApiUnreachable", words)
        else:
            seen = outcome.judge(release, body)
        if seen.end:
            return body, seen
        if time.monotonic() >= deadline:
            return body, Outcome(End.TIMEOUT, seen.reason, f"not in time: {seen.message}")
        progress.tell(describe.progress(body, seen.message))
        await asyncio.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def _write(result: Body) -> None:
    sys.stdout.write(as_json(result) + "\n")
    sys.stdout.flush()
