"""A sample of the fault campaign, chosen by the commit; `make test-faults` plays all of it.

Each part's line of figures stands at the end of pytest's output.
"""

from __future__ import annotations

import pytest

from tests.fault.figures import Part

pytestmark = pytest.mark.fault
Parts = dict[str, Part]


def nothing_diverged(part: Part) -> None:
    assert not part.divergences, "\n".join([part.figures, *part.divergences])


def test_an_operator_killed_at_a_write_ends_where_an_undisturbed_one_does(parts: Parts):
    nothing_diverged(parts["deaths"])


def test_what_was_told_late_or_never_is_followed_and_repaired_in_half_a_minute(parts: Parts):
    nothing_diverged(parts["views"])


def test_a_rollout_goes_on_ten_seconds_after_any_fault_of_the_api_server(parts: Parts):
    nothing_diverged(parts["outages"])


def test_with_nothing_to_do_nothing_is_written(parts: Parts):
    nothing_diverged(parts["idle"])


def test_an_operator_without_one_of_its_safety_rules_is_found_out(parts: Parts):
    nothing_diverged(parts["mutations"])
