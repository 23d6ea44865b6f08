"""What is asked of the server's image after it was built, asked of the server itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dev import image_check
from tests.server.artifacts import encode, make_picture
from tests.server.processes import ServerProcess


def test_a_server_that_serves_passes_and_each_endpoint_was_asked(
    start_server: Callable[..., ServerProcess],
):
    url = start_server().wait_ready().url
    said = image_check.check(url, encode(make_picture()))
    assert said.startswith(f"{url}: ")
    assert said.endswith("every endpoint answers")
    with pytest.raises(image_check.CheckFailed, match="/predict"):
        image_check.check(url, b"no picture")


def test_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_check, "SECONDS", 0)
    with pytest.raises(image_check.CheckFailed, match="not ready within 0 s"):
        image_check.check("http://127.0.0.1:9", b"")
