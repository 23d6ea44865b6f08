"""The picture of a canary: what it shows, and that it is fresh."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.recording.__main__ import PICTURE
from tests.recording.canary import frames
from tests.recording.terminal_svg import COLUMNS, terminal_svg, wrapped


def test_the_committed_picture_is_what_the_command_prints_today():
    recorded = frames()
    still = next(n for n, frame in enumerate(recorded) if "20% of the requests" in frame[2])
    assert PICTURE.read_text() == terminal_svg(recorded, still=still)


def test_it_shows_the_whole_story():
    text = "".join(ET.fromstring(PICTURE.read_text()).itertext())
    for words in ("Healthy", "20% of the requests", "50% of the requests", "goes on serving"):
        assert words in text


def test_a_line_that_is_too_long_goes_on_below_in_its_colour():
    first, second = wrapped(f"a\x1b[31m{'b' * COLUMNS}\x1b[0mc")
    assert sum(len(text) for _, text in first) == COLUMNS
    assert second == [("31", "b"), ("", "c")]
