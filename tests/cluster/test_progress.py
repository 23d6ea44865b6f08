"""What a user sees of a long step."""

from __future__ import annotations

import io
import re

import pytest

from dev import progress


def test_a_step_says_its_estimate_and_its_real_time():
    out = io.StringIO()

    with progress.step("building", 250, out):
        pass

    first, second = out.getvalue().splitlines()
    assert first == "- building (about 4 min 10 s)"
    assert re.fullmatch(r"  done in \d+\.\d s", second)


def test_a_step_that_raises_is_reported_as_failed():
    out = io.StringIO()

    with pytest.raises(ValueError, match="broken"), progress.step("building", None, out):
        raise ValueError("broken")

    assert "failed after" in out.getvalue()


@pytest.mark.parametrize(
    ("elapsed", "estimate", "line"),
    [
        (15, 250, "  ... building: 15.0 s of about 4 min 10 s"),
        (300, 250, "  ... building: 5 min 00 s, longer than the usual 4 min 10 s"),
        (15, None, "  ... building: 15.0 s"),
    ],
)
def test_a_running_step_is_measured_against_its_estimate(
    elapsed: float, estimate: float | None, line: str
):
    assert progress.running_line("building", elapsed, estimate) == line
