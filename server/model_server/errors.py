"""Every error this package raises on purpose, and what each one leads to.

Whoever raises one of these writes the sentence that a person will read: what is wrong and what to
do about it. `termination` turns the first family into an exit status, `problems` turns the second
into an HTTP answer.

    StartupError                 the process ends with `exit_status`
    ├── SettingsError            2  a setting or an argument is wrong
    ├── EngineUnavailable        2  the engine or decoding that was named cannot be used here
    ├── ArtifactRefused          3  the model's bytes are not to be served; a retry changes nothing
    │   ├── DigestMismatch          the bytes are not those that were asked for
    │   ├── ManifestRefused         model.json is missing or does not say what it must
    │   └── WeightsRefused          the weights are not readable, not finite, or do not fit
    ├── ModelNotFound            4  the source has no such model; a retry changes nothing
    ├── SourceUnreachable        5  the source did not answer as it should; a retry may help
    │   └── SourceInterrupted       it broke off or is overloaded: tried again at once
    └── FetchEnded               143  SIGTERM came before the artifact was in place

    RequestError                 the client gets `status` as application/problem+json
    ├── NotAnImage               400
    │   └── DamagedPicture           its header was good; the decoder stumbled
    ├── MalformedRequest         400
    ├── UnknownModel             404
    ├── BodyTimeout              408
    ├── HeadersTimeout           408
    ├── BodyTooLarge             413
    ├── TooManyPixels            413
    ├── TooComplex               413
    ├── TooManyImages            413
    ├── UnsupportedMediaType     415
    ├── UnsupportedEncoding      415
    ├── NoImage                  422
    ├── InvalidRequest           422
    ├── HeadersTooLarge          431
    └── Unavailable              503  with Retry-After
        ├── NotReady                  the model is still loading
        ├── Overloaded                the queue is full, or the request was in it for too long
        ├── PredictionTimeout         the answer took longer than a request may
        └── CutOff                    the process ends, and waits for this request no longer

    Abandoned                    nobody waits for the prediction any more, and nobody is told
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class StartupError(Exception):
    """The process cannot do its work; its text is the sentence that the user reads."""

    exit_status: ClassVar[int]


class SettingsError(StartupError):
    """A setting or an argument is wrong."""

    exit_status = 2


class EngineUnavailable(StartupError):
    """An engine or a decoding is not installed, cannot run here, or is not faithful enough."""

    exit_status = 2


class ArtifactRefused(StartupError):
    """The artifact must not be served."""

    exit_status = 3


class DigestMismatch(ArtifactRefused):
    """The artifact's bytes have another digest than the one asked for."""


class ManifestRefused(ArtifactRefused):
    """`model.json` is missing, unreadable, or says something that cannot be served."""


class WeightsRefused(ArtifactRefused):
    """The weights are unreadable, not finite, or do not fit the architecture."""


class ModelNotFound(StartupError):
    """The registry, the store or the folder does not have the model."""

    exit_status = 4


class SourceUnreachable(StartupError):
    """The registry or the store could not be reached, or refused to talk to us."""

    exit_status = 5


class SourceInterrupted(SourceUnreachable):
    """The source broke off or said that it is overloaded; `sources` tries that again by itself."""


class FetchEnded(StartupError):
    """The fetch was told to end; 143 is what a shell says of a process that SIGTERM ended."""

    exit_status = 143


class RequestError(Exception):
    """A request that cannot be answered with a prediction; its text is the problem's `detail`."""

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = MappingProxyType({})


class NotAnImage(RequestError):
    """The bytes do not decode as a picture."""

    status, slug, title = 400, "not-an-image", "Not an image"


class DamagedPicture(NotAnImage):
    """A decoder began with the picture and could not go on."""


class MalformedRequest(RequestError):
    """The body does not have the form that its Content-Type announces."""

    status, slug, title = 400, "malformed-request", "Malformed request"


class UnknownModel(RequestError):
    """The path names another model, or another version, than the one that is served."""

    status, slug, title = 404, "unknown-model", "Unknown model"


class BodyTimeout(RequestError):
    """The body did not arrive in time."""

    status, slug, title = 408, "body-timeout", "Request timeout"


class HeadersTimeout(RequestError):
    """The request's headers did not arrive in time."""

    status, slug, title = 408, "headers-timeout", "Request timeout"


class BodyTooLarge(RequestError):
    """The body has more bytes than are read."""

    status, slug, title = 413, "body-too-large", "Body too large"


class TooManyPixels(RequestError):
    """The picture's header announces more pixels than are decoded."""

    status, slug, title = 413, "too-many-pixels", "Picture too large"


class TooComplex(RequestError):
    """The picture would take work out of all proportion to its pixels."""

    status, slug, title = 413, "too-complex", "Picture too complex"


class TooManyImages(RequestError):
    """The request has more pictures than one may."""

    status, slug, title = 413, "too-many-images", "Too many pictures"


class UnsupportedMediaType(RequestError):
    """The Content-Type is not one that is read."""

    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class UnsupportedEncoding(RequestError):
    """The body is compressed as a whole."""

    status, slug, title = 415, "unsupported-encoding", "Unsupported content encoding"
    headers = MappingProxyType({"Accept-Encoding": "identity"})


class NoImage(RequestError):
    """The request is well made and holds no picture."""

    status, slug, title = 422, "no-image", "No image in the request"


class InvalidRequest(RequestError):
    """The request can be read, but does not say what it must."""

    status, slug, title = 422, "invalid-request", "Invalid request"


class HeadersTooLarge(RequestError):
    """The request has more bytes of headers than are read."""

    status, slug, title = 431, "headers-too-large", "Headers too large"


class Unavailable(RequestError):
    """The request is good and can be sent again after the seconds of `Retry-After`."""

    status = 503
    headers = MappingProxyType({"Retry-After": "1"})


class NotReady(Unavailable):
    """The model is not loaded yet."""

    slug, title = "not-ready", "Not ready"


class Overloaded(Unavailable):
    """The queue in front of the model is full, or does not move."""

    slug, title = "overloaded", "Overloaded"


class PredictionTimeout(Unavailable):
    """The prediction was not done within the request's time."""

    slug, title = "prediction-timeout", "Prediction took too long"


class CutOff(Unavailable):
    """The process ends, and waits for this request no longer."""

    slug, title = "cut-off", "The server has ended"


class Abandoned(Exception):
    """Nobody waits for this prediction any more; nobody reads this either."""
