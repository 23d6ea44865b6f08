"""The exceptions of the operator, all in one tree.

OperatorError
├── SettingsError           the process's settings are wrong: it does not start
├── ApiError                the API server answered with an error status
│   ├── NotFound            404
│   ├── Conflict            409: the object has changed since it was read
│   └── Gone                410: a watch's resourceVersion is too old
├── ApiUnreachable          the API server did not answer
├── NotInstalled            what `helm test` looks for is not there
├── NotLeading              this process may not write any more: another one leads, or will soon
├── PodUnreachable          a pod did not answer, or not as asked
├── MetricsUnreadable       what a pod answered is no model server's metrics
├── MlflowError             an MLflow server did not do what it was asked
│   ├── MlflowUnreachable   it did not answer, or is not well
│   ├── NotMlflow           what answers there is something else
│   ├── MlflowLoginRefused  401 or 403
│   ├── ExperimentDeleted   the experiment that rollouts go into is in the trash
│   └── MlflowRefused       it will not, and says why
└── ResolutionError         spec.model cannot be resolved
    ├── ResolutionRefused   permanent: nothing changes until somebody acts
    └── ResolutionDelayed   temporary: tried again with back-off
        └── ResolutionPending   something is at work on it, and will be heard of
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


class NotInstalled(OperatorError):
    """Something that an installation has is missing; the sentence says what."""


class NotLeading(OperatorError):
    """The Lease has run out or is another's: a write was not sent, or its answer came too late."""


class PodUnreachable(OperatorError):
    """A pod's HTTP port did not answer in time, answered with an error, or with too much."""


class MetricsUnreadable(OperatorError):
    """What a pod answered are not a model server's metrics."""


class MlflowError(OperatorError):
    """An MLflow server did not do what it was asked; the sentence names its address."""


class MlflowUnreachable(MlflowError):
    """It did not answer in time, or with a status that says that it is not well."""


class NotMlflow(MlflowError):
    """What answers at the address is no MLflow server."""

    def __init__(self, address: str, status: int) -> None:
        super().__init__(
            f"what answers at {address} (status {status}) is not an MLflow server: check the "
            "address"
        )


class MlflowLoginRefused(MlflowError):
    """It refuses the operator's credentials."""

    def __init__(self, address: str, status: int) -> None:
        super().__init__(f"the registry at {address} refused the operator's credentials ({status})")


class ExperimentDeleted(MlflowError):
    """Somebody has deleted the experiment that rollouts are recorded in."""

    def __init__(self, address: str, experiment: str) -> None:
        super().__init__(
            f"the experiment {experiment!r} at {address} is deleted: restore it, or name another "
            "in CV_FACTORY_ROLLOUTS_EXPERIMENT (the chart's value registry.rolloutsExperiment)"
        )


class MlflowRefused(MlflowError):
    """It understood and will not; carries MLflow's own code and words."""

    def __init__(self, address: str, code: str, message: str) -> None:
        super().__init__(f"the registry at {address} refuses: {message or code}")
        self.address = address
        self.code = code
        self.message = message


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


class ResolutionAwaited(ResolutionDelayed):
    """Temporary: the registry was asked, and what it answers wakes the resource."""


class ResolutionPending(ResolutionDelayed):
    """Temporary: a Job is at work, or will be at its time, and nobody has to ask in between."""
