"""The exceptions of the operator, all in one tree.

OperatorError
├── SettingsError           the process's settings are wrong: it does not start
├── ApiError                the API server answered with an error status
│   ├── NotFound            404
│   ├── Conflict            409: the object has changed since it was read
│   └── Gone                410: a watch's resourceVersion is too old
├── ApiUnreachable          the API server did not answer
├── PodUnreachable          a pod did not answer, or not as asked
├── MetricsUnreadable       what a pod answered is no model server's metrics
└── ResolutionError         spec.model cannot be resolved
    ├── ResolutionRefused   permanent: nothing changes until somebody acts
    └── ResolutionDelayed   temporary: tried again with back-off
"""

from __future__ import annotations


class OperatorError(Exception):
    """Base of the operator's own exceptions."""


class SettingsError(OperatorError):
    """A setting is missing or wrong; the message names it."""


class ApiError(OperatorError):
    """The API server answered with an error status."""

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after


class NotFound(ApiError):
    """404: there is no such object."""


class Conflict(ApiError):
    """409: the object has changed since it was read, or exists already."""


class Gone(ApiError):
    """410: the resourceVersion that a watch starts from is no longer kept."""


class ApiUnreachable(OperatorError):
    """The API server did not answer: connection refused, reset or timed out."""


class PodUnreachable(OperatorError):
    """A pod's HTTP port did not answer in time, answered with an error, or with too much."""


class MetricsUnreadable(OperatorError):
    """What a pod answered are not a model server's metrics."""


class ResolutionError(OperatorError):
    """spec.model cannot be resolved; carries a reason from `reasons` and one sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ResolutionRefused(ResolutionError):
    """Permanent: only a change of the spec or of the registry helps."""


class ResolutionDelayed(ResolutionError):
    """Temporary: the registry may answer later."""
