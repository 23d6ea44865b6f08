"""What can be read off a model's URI alone: its kind, its claim, how it is shown. Pure.

Asked by `clients.registry`, and by everything that shows or fetches a source.
"""

from __future__ import annotations

import re

REGISTERED = "models:/"
RUN = "runs:/"
_CLAIM = re.compile(r"^pvc://(?P<claim>[^/]+)/")
SHORT_DIGITS = 12


def is_registered(uri: str) -> bool:
    """Whether the URI names a version in a registry, so that there is one to be asked."""
    return uri.startswith(REGISTERED)


def is_in_mlflow(uri: str) -> bool:
    """Whether the bytes come from an MLflow server."""
    return uri.startswith((REGISTERED, RUN))


def is_web(uri: str) -> bool:
    """Whether the bytes come from a web server."""
    return uri.startswith("https://")


def claim_of(uri: str) -> str | None:
    """The PersistentVolumeClaim that holds the bytes; None for every other source.

    >>> claim_of("pvc://models/cats-dogs/3"), claim_of("s3://models/cats-dogs/3/")
    ('models', None)
    """
    found = _CLAIM.match(uri)
    return found["claim"] if found else None


def version_of(sha256: str) -> str:
    """What stands for the version where no registry numbers them: enough of the digest to tell
    artifacts apart.
    """
    return sha256[:SHORT_DIGITS]


def shown(uri: str) -> str:
    """The URI as people may read it: its query may hold a signature.

    >>> shown("https://example.com/cats.tgz?signature=secret")
    'https://example.com/cats.tgz?...'
    """
    before, query, _ = uri.partition("?")
    return f"{before}?..." if query and is_web(uri) else uri
