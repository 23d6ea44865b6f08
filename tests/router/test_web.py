from __future__ import annotations

import contextlib
from typing import Any, cast

import pytest

from model_router.web import AgentServer

NOBODY = cast("Any", None)


@contextlib.contextmanager
def told_to(server: AgentServer):
    """What the block raises is the server's to handle."""
    try:
        yield
    except Exception:  # noqa: BLE001 - as the base class does it
        server.handle_error(None, ("127.0.0.1", 1))


@pytest.mark.parametrize(("error", "told"), [(BrokenPipeError, False), (KeyError, True)])
def test_a_client_that_has_gone_is_no_error(
    error: type[Exception], told: bool, capsys: pytest.CaptureFixture[str]
):
    with AgentServer(("127.0.0.1", 0), NOBODY, NOBODY) as server, told_to(server):
        raise error
    assert (error.__name__ in capsys.readouterr().err) is told
