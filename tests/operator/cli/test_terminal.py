"""What is written to a terminal, and what to a pipe or a pipeline's log."""

from __future__ import annotations

import io

import pytest

from model_operator.cli.terminal import Progress, style_of


class Terminal(io.StringIO):
    encoding = "UTF-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "colours"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_terminals_whose_user_wants_them(stream, environment, colours):
    assert style_of(stream, environment).colours is colours


def test_a_stream_that_cannot_write_unicode_gets_none():
    assert style_of(Terminal()).unicode
    assert not style_of(io.TextIOWrapper(io.BytesIO(), encoding="ascii")).unicode


def test_a_log_gets_a_line_for_every_change_and_none_for_none():
    stream = io.StringIO()
    progress = Progress(stream)
    for text in ("starting", "starting", "serving", "starting"):
        progress.tell(text)
    progress.end("done")
    told = [line.split("] ")[1] for line in stream.getvalue().splitlines()]
    assert told == ["starting", "serving", "starting", "done"]
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_one_line_that_changes_and_is_never_wrapped(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    progress = Progress(stream)
    progress.tell("starting")
    progress.tell("x" * 100)
    assert "\n" not in stream.getvalue()
    shown = stream.getvalue().split("\r\x1b[2K")[-1]
    assert shown.endswith("...")
    assert len(shown) < 40
    progress.end("y" * 100)
    assert stream.getvalue().endswith("y" * 100 + "\n")


def test_who_wants_json_alone_gets_no_progress():
    stream = io.StringIO()
    progress = Progress(stream, quiet=True)
    progress.tell("starting")
    progress.end("done")
    assert stream.getvalue() == ""
