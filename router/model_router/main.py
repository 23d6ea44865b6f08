"""The command `model-router`: the entry point of the router's image.

Exit status 0 after a drain, 1 when HAProxy ended by itself, 2 for a setting that is not possible.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType

from model_router import __version__, logs
from model_router.agent import Agent
from model_router.errors import RouterError, SettingsError
from model_router.proxy import Proxy
from model_router.settings import Settings
from model_router.web import AgentServer

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT, and then until nothing is in flight."""
    _parser().parse_args(argv)
    logs.configure()
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        return run(Settings.from_environment(os.environ), stop)
    except SettingsError as error:
        _log.critical(str(error))
        return 2
    except RouterError as error:
        _log.critical(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="model-router",
        description="Divide requests between revisions, by HAProxy.",
        epilog="It is set by the environment: docs/reference/settings.md lists it.",
    )
    parser.add_argument("--version", action="version", version=f"model-router {__version__}")
    return parser


def run(settings: Settings, stop: threading.Event) -> int:
    """One router, until `stop` is set and its drain is over."""
    proxy = Proxy(settings)
    try:
        proxy.start()
        agent = Agent(settings, proxy)
        address = "" if settings.address == "*" else settings.address
        with AgentServer((address, settings.agent_port), agent, proxy.api) as server:
            threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
            _log.info("started", extra={"port": settings.port, "agent_port": settings.agent_port})
            agent.run(stop)
            status = proxy.stop()
            server.shutdown()
    except BaseException:
        proxy.kill()
        raise
    _log.info("ended", extra={"status": status})
    return 0
