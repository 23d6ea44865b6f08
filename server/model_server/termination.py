"""The process's last words: one sentence, in the log and in the pod's termination message.

`serve`, `main` and `fetch` end with it, and `fetch --resolve` leaves its result there. Kubernetes
reads the file into the container's status, where the operator and `kubectl describe` find it.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from model_server.errors import StartupError

_DEFAULT_PATH = Path("/dev/termination-log")
_MAX_BYTES = 4096  # what the kubelet reads of it

log = structlog.get_logger()


def explain(error: StartupError) -> int:
    """Log `error`'s sentence, leave it as the termination message, and return the exit status."""
    log.error(str(error), error=type(error).__name__, exit_status=error.exit_status)
    leave(str(error))
    return error.exit_status


def leave(text: str) -> None:
    """Leave `text` as the termination message, cut to what the kubelet reads of it."""
    path = Path(os.environ.get("TERMINATION_MESSAGE_PATH") or _DEFAULT_PATH)
    # Outside a pod nobody made the default file, and /dev is no place to leave a new one.
    if path == _DEFAULT_PATH and not path.exists():
        return
    encoded = text.encode(errors="backslashreplace")[:_MAX_BYTES]
    try:
        path.write_bytes(encoded.decode(errors="ignore").encode())  # no half character at the end
    except OSError as unwritable:
        log.debug("no termination message", path=str(path), reason=str(unwritable))
