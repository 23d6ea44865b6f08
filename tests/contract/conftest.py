"""Fixtures of tests that run one program with what another one has written."""

from __future__ import annotations

from tests.own_logging import own_logging  # noqa: F401 - a fixture
