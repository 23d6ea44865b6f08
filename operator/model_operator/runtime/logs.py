"""How the process logs: one JSON object per line on standard output. `main` sets it up."""

from __future__ import annotations

import logging
import sys

import structlog

from model_operator.runtime.frame import NotOfASignal

LONGEST_FOREIGN_LINE = 1000
"""Characters. What kopf and the libraries say may quote what they were given."""


def configure(level: str) -> None:
    """For this process's lines, kopf's and the libraries'."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[*shared, _shorten],
        )
    )
    handler.addFilter(NotOfASignal())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # At the level of info kopf tells of each event, and below that it shows whole objects.
    for chatty in ("kopf", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _shorten(
    _logger: logging.Logger, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if len(text := str(line["event"])) > LONGEST_FOREIGN_LINE:
        line["event"] = f"{text[:LONGEST_FOREIGN_LINE]}..."
    return line
