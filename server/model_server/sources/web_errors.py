"""What an exception of `requests` or urllib3 means for a user.

`web` and `mlflow` use it. The exceptions' own texts are not shown: they name the address with its
query, which may hold a signature.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import requests
import urllib3

from model_server.errors import SettingsError, SourceInterrupted, SourceUnreachable

_MALFORMED = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
)


def explained(error: Exception, url: str) -> SettingsError | SourceUnreachable:
    """Return the error that says what `error` means; `url` is how it may be shown."""
    chain = list(_chain(error))
    if any(isinstance(link, _MALFORMED) for link in chain):
        return SettingsError(
            f"{url} cannot be asked for: the URI, or where it is redirected, is malformed; correct"
            " it."
        )
    untrusted = [link for link in chain if isinstance(link, ssl.SSLCertVerificationError)]
    if untrusted:
        return SourceUnreachable(
            f"The certificate of {url} is not trusted ({untrusted[0].verify_message}): mount the"
            " certificates that signed it and name them by REQUESTS_CA_BUNDLE."
        )
    if isinstance(error, requests.exceptions.SSLError):
        return SourceUnreachable(
            f"{url} does not speak TLS as it should ({_reason(chain)}): check the port and the"
            " server."
        )
    return SourceInterrupted(
        f"{url} cannot be fetched ({_reason(chain)}): check the address and that the server is up;"
        " a pod tries this again."
    )


def reason(error: Exception) -> str:
    """Return in a few words why an answer did not come, or broke off."""
    return _reason(list(_chain(error)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that `error` wraps: their libraries nest them in several ways."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [getattr(link, "reason", None), *link.args, link.__cause__, link.__context__]


def _reason(chain: list[BaseException]) -> str:
    for link in chain:
        if isinstance(link, requests.exceptions.ConnectTimeout):
            return "no connection in time"
        if isinstance(link, (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
            return "nothing arrives"
        if isinstance(link, urllib3.exceptions.IncompleteRead):
            return "the answer breaks off"
        if isinstance(link, urllib3.exceptions.NameResolutionError):
            return "its name is not known"
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
    return type(chain[0]).__name__
