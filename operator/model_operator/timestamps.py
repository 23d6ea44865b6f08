"""Times as the Kubernetes API writes them: UTC, in whole seconds, or finer in a Lease. Pure."""

from __future__ import annotations

from datetime import datetime


def format_time(moment: datetime) -> str:
    """A time as Kubernetes writes it, in whole seconds.

    >>> from datetime import UTC
    >>> format_time(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
    '2026-01-02T03:04:05Z'
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> datetime | None:
    """The reverse of `format_time`; None for what is not a time."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def format_micro_time(moment: datetime) -> str:
    """A time as a Lease has it, with six digits of the second.

    >>> from datetime import UTC
    >>> format_micro_time(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
    '2026-01-02T03:04:05.000678Z'
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
