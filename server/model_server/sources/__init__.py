"""Where artifacts come from: one module for each kind of URI. `fetch` is the only caller.

A source is a module with `download(uri, into, settings)`, which puts an artifact's files into a
folder below `into` and returns that folder. A new one is a file here and a line in `_SOURCES`. Its
module is imported when such a URI is fetched, so that nobody waits seconds for a client that is
not used.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from model_server.errors import SettingsError
from model_server.sources import settings
from model_server.sources.uris import shown

_SOURCES = {
    "models": "mlflow",
    "runs": "mlflow",
    "https": "web",
    "http": "web",
    "s3": "s3",
    "pvc": "folders",
    "file": "folders",
}
_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9]*):")
_PATH = re.compile(r"\.{0,2}/")


def download(uri: str, into: Path) -> Path:
    """Return a folder below `into` that holds the files of `uri`, and nothing else.

    The bytes are as they came: whoever calls this verifies them.

    Raises:
        SettingsError: `uri` is of no kind that is fetched, or a setting that it needs is wrong.
        ArtifactRefused: what came cannot be an artifact: no archive, too large, escaping paths.
        ModelNotFound: nothing is there.
        SourceUnreachable: the source did not answer as it should, or refused the credentials.

    """
    scheme = _SCHEME.match(uri)
    if not scheme and _PATH.match(uri):
        source = _SOURCES["file"]
    elif scheme and scheme["scheme"] in _SOURCES:
        source = _SOURCES[scheme["scheme"]]
    else:
        raise SettingsError(
            f"The URI {shown(uri)!r} is of no kind that is fetched: begin it with models:/, runs:/,"
            " https://, s3://, pvc://, file:// or a slash."
        )
    folder: Path = import_module(f"{__name__}.{source}").download(uri, into, settings.load())
    return folder
