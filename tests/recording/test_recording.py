"""The picture of a canary: what it shows, and that it is fresh."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from tests.recording.__main__ import PICTURE
from tests.recording.canary import frames
from tests.recording.terminal_svg import COLUMNS, SECONDS_EACH, terminal_svg, wrapped


def test_the_committed_picture_is_what_the_command_prints_today():
    recorded = frames()
    still = next(n for n, frame in enumerate(recorded) if "20% of the requests" in frame[2])
    assert PICTURE.read_text() == terminal_svg(recorded, still=still)


def test_it_shows_the_whole_story():
    text = "".join(ET.fromstring(PICTURE.read_text()).itertext())
    for words in ("Healthy", "20% of the requests", "50% of the requests", "goes on serving"):
        assert words in text


def test_one_frame_is_seen_at_a_time_from_the_first_moment_on():
    text = terminal_svg([["a"], ["b"], ["c"]], still=1)
    delays = [int(found) for found in re.findall(r"animation-delay:(-?\d+)s", text)]
    cycle = SECONDS_EACH * len(delays)
    for moment in range(2 * cycle):
        assert all(moment >= delay for delay in delays), "one has not begun"
        seen = [
            number for number, delay in enumerate(delays) if (moment - delay) % cycle < SECONDS_EACH
        ]
        assert seen == [moment // SECONDS_EACH % len(delays)]


def test_a_line_that_is_too_long_goes_on_below_in_its_colour():
    first, second = wrapped(f"a\x1b[31m{'b' * COLUMNS}\x1b[0mc")
    assert sum(len(text) for _, text in first) == COLUMNS
    assert second == [("31", "b"), ("", "c")]
