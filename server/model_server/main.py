"""The command `model-serve`: reads the settings and serves until it is told to end.

Exit statuses: 0 ended as asked, 2 a setting is wrong, 3 the artifact is refused. Each but 0 leaves
one sentence in the log and in the termination message.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import structlog

from model_server import __version__, logs, open_files, scheduling, settings, termination
from model_server.arguments import Arguments
from model_server.errors import StartupError
from model_server.log_writer import LogWriter

log = structlog.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server and return the process's exit status."""
    # A container's first process would else ignore it, until `serve` has one of its own.
    signal.signal(signal.SIGTERM, _end)
    logs.configure()
    try:
        arguments = _parser().parse_args(argv)
        loaded = settings.load(
            model_path=arguments.artifact, host=arguments.host, port=arguments.port
        )
        scheduling.shorten_slice()  # before any thread is started
        scheduling.shorten_turns()
        open_files.raise_limit()
    except StartupError as error:
        return termination.explain(error)
    writer = LogWriter(sys.stderr.fileno())
    logs.configure(loaded.log_level, loaded.environment, writer)
    try:
        for name, setting in settings.lookalikes(os.environ).items():
            log.warning("a variable is no setting", variable=name, perhaps_meant=setting)
        from model_server import serve  # noqa: PLC0415 - takes a second, and may be ended in it

        return serve.run(loaded, writer)
    except StartupError as error:
        return termination.explain(error)
    finally:
        writer.drain()


def _end(_number: int, _frame: Any) -> NoReturn:
    """End as asked: nothing is served yet, and no library that is being imported holds it back."""
    os._exit(0)


def _parser() -> Arguments:
    parser = Arguments(
        prog="model-serve",
        description="Serve one image classifier over HTTP.",
        epilog="Everything else is set by the environment: docs/server.md lists it.",
    )
    parser.add_argument("--artifact", type=Path, metavar="DIR", help="default: $MODEL_PATH, /model")
    parser.add_argument("--host", help="address to listen on; default: $HOST, 0.0.0.0")
    parser.add_argument("--port", type=int, help="port to listen on; default: $PORT, 8000")
    parser.add_argument("--version", action="version", version=f"model-serve {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
