"""How the campaign's requests are shared out among its workflows."""

from __future__ import annotations

import pytest

from tests.traffic.__main__ import share_of
from tests.traffic.row import Pace, Row
from tests.traffic.workflows import WORKFLOWS


@pytest.mark.parametrize("names", [list(WORKFLOWS), ["shadow"], ["standard", "shadow"]])
def test_all_rows_together_have_at_least_as_many_requests_as_are_asked_for(names: list[str]):
    rows = [Row(WORKFLOWS[name]) for name in names]
    pace = Pace(rate=40.0, requests=share_of(300_000, rows), cpu="300m")
    shares = [pace.of(row.workflow).requests for row in rows]
    assert 300_000 <= sum(shares) < 300_000 + 2 * len(rows)
