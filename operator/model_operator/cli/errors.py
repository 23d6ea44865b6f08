"""How a command of `kubectl md` ends. Each exception carries the sentence that is printed.

CommandError
├── UsageError     2: the command cannot be carried out as it was given
├── Failed         1: it failed, or was refused
└── NotInTime      3: what was waited for has not come
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses, as docs/kubectl-md.md has them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_IN_TIME = 3
    INTERRUPTED = 130


class CommandError(Exception):
    """Base: the command ends with `exit_status`."""

    exit_status = Exit.FAILED


class UsageError(CommandError):
    """An option, a file or a kubeconfig is not what it should be."""

    exit_status = Exit.USAGE


class Failed(CommandError):
    """It failed, or was refused."""


class NotInTime(CommandError):
    """What was waited for has not come."""

    exit_status = Exit.NOT_IN_TIME
