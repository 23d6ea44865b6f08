"""The only place that imports mlflow: quiet, without telemetry, its errors as sentences.

Called by tracking and the registry. The settings are defaults: what the user's environment says
about them wins. mlflow reads some of them while it is imported, so they are set before.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from model_training.errors import TrackingError, TrackingUnreachableError

_SETTINGS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # about 15 seconds; mlflow's own default is minutes
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
logging.getLogger("alembic").setLevel(logging.WARNING)  # a line per migration of a new database
logging.getLogger("urllib3").setLevel(logging.ERROR)  # a line per retry; the end is an exception

import numpy as np  # noqa: E402
from mlflow import MlflowClient  # noqa: E402 - only after the settings
from mlflow.entities import Metric, Param, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException, RestException  # noqa: E402
from requests.exceptions import RequestException  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

ALREADY_EXISTS: Final = "RESOURCE_ALREADY_EXISTS"
DOES_NOT_EXIST: Final = "RESOURCE_DOES_NOT_EXIST"
INVALID: Final = "INVALID_PARAMETER_VALUE"  # what it says of an alias that nobody has set

__all__ = [
    "ALREADY_EXISTS",
    "DOES_NOT_EXIST",
    "INVALID",
    "Metric",
    "MlflowException",
    "Param",
    "RunTag",
    "connect",
    "mlflow_errors",
    "signature",
]


def connect(tracking_uri: str) -> Any:
    """An MlflowClient whose registry is the tracking server's own."""
    with mlflow_errors(tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def signature(image: tuple[int, int, int], classes: int) -> dict[str, Any]:
    """What a model takes and gives in MLflow's own form: -1 x image -> -1 x classes, float32."""
    from mlflow.models.signature import ModelSignature  # noqa: PLC0415 - takes a second to import
    from mlflow.types import Schema, TensorSpec  # noqa: PLC0415

    kind = np.dtype("float32")
    described: dict[str, Any] = ModelSignature(
        inputs=Schema([TensorSpec(kind, (-1, *image), "images")]),
        outputs=Schema([TensorSpec(kind, (-1, classes), "logits")]),
    ).to_dict()
    return described


@contextmanager
def mlflow_errors(tracking_uri: str) -> Iterator[None]:
    """Turns what mlflow raises into TrackingError or TrackingUnreachableError."""
    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError) as error:
        if _is_unreachable(error):
            message = (
                f"the MLflow server at {tracking_uri} cannot be reached ({_root(error)}); start it,"
                " or set MLFLOW_TRACKING_URI or --tracking-uri"
            )
            raise TrackingUnreachableError(message) from error
        message = f"MLflow at {tracking_uri} refused: {_first_line(error)}"
        raise TrackingError(message) from error


def _is_unreachable(error: Exception) -> bool:
    """Whether no answer came; a RestException is an answer."""
    if isinstance(error, RestException):
        return False
    causes = (error, error.__cause__, error.__context__)
    return any(isinstance(cause, RequestException) for cause in causes)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]


def _root(error: BaseException) -> BaseException:
    """What began it, such as `[Errno 111] Connection refused`; the layers above only repeat it."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error
