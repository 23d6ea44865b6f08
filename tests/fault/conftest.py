"""One house for all the tests, and one sample of the campaign that they look at together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.fault import figures
from tests.fault.figures import Part
from tests.fault.house import House, house
from tests.fault.workflows import WORKFLOWS

FIGURES = pytest.StashKey[list[str]]()
WORKFLOWS_PLAYED = 6
DEATHS = 12
OUTAGE_SECONDS = 10.0
IDLE_SECONDS = 30.0


@pytest.fixture(scope="session")
def opened() -> Iterator[House]:
    with house() as standing:
        yield standing


@pytest.fixture(scope="session")
def parts(opened: House, request: pytest.FixtureRequest) -> dict[str, Part]:
    """Every part of the campaign, small, all at once: they are mostly waiting."""
    found = asyncio.run(_play(opened))
    request.config.stash[FIGURES] = [part.figures for part in found.values()]
    return found


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The figures, whether the tests passed or not."""
    for line in config.stash.get(FIGURES, []):
        terminalreporter.write_line(line)


async def _play(opened: House) -> dict[str, Part]:
    chosen = figures.sample_of(WORKFLOWS, WORKFLOWS_PLAYED)
    async with opened.stage() as stage:
        running = {
            "deaths": figures.deaths(stage, DEATHS, chosen),
            "outages": figures.outages(stage, OUTAGE_SECONDS),
            "idle": figures.idling(stage, IDLE_SECONDS),
            "views": figures.lost_views(stage),
            "mutations": figures.mutants(stage),
        }
        found = await asyncio.gather(*running.values())
        return dict(zip(running, found, strict=True))
