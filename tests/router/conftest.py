"""HAProxy for these tests: installed where that is possible, and never silently missed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from dev.cluster import debian
from dev.cluster.errors import ClusterError
from dev.setup import can_install_debian_packages
from tests.router.backends import Backend, backends


@pytest.fixture(scope="session")
def haproxy() -> None:
    """A failure where it cannot be had although it should be, else a skip that says why."""
    try:
        debian.install({"haproxy": "haproxy"})
    except ClusterError as error:
        if os.environ.get("CI") == "true" or can_install_debian_packages():
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
async def pods(haproxy: None) -> AsyncIterator[dict[str, Backend]]:
    """The revisions a (stable) and b (canary), listening."""
    async with backends("a", "b") as made:
        yield made
