"""Logs: one JSON object per line on standard error, by structlog, uvicorn's and mlflow's included.

`main` and `fetch` configure it before anything else; `main` once more, with what it was told.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from model_server.log_writer import LogWriter


def configure(
    level: str = "INFO", environment: str = "production", writer: LogWriter | None = None
) -> None:
    """Send every log line of this process to `writer`, or to standard error, from `level` on."""
    file = cast("TextIO", writer or sys.stderr)
    number = logging.getLevelNamesMapping()[level]
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _adding(environment=environment),
    ]
    renderers: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if environment == "development"
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    # Others' libraries speak up only when something is wrong: what happens here, we log ourselves.
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    # A malformed form is the client's doing, and answered as such.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


def _adding(**fields: str) -> Callable[[Any, str, EventDict], EventDict]:
    def add(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.update(fields)
        return event

    return add
