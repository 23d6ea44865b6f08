"""The process's settings: one object, read from the environment once, at start-up.

`main` reads it for the server; `fetch` has arguments of its own and reads none of this. Every
field is set by the environment variable of its name in capitals (`MODEL_PATH`, `DRAIN_SECONDS`);
an empty variable counts as not set. docs/server.md has the same list for users, and a test holds
the two together.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from model_server.errors import SettingsError

_TEXT = r"^[^\x00-\x1f\x7f]{1,253}$"
_DIGEST = r"^[0-9a-f]{64}$"
_REVISION = r"^[A-Za-z0-9._-]{1,128}$"
_NAME = r"([A-Za-z0-9_-]{1,63}(\.|$))+"
_IPV6 = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?"
_HOST = rf"^({_NAME}|{_IPV6})$"
_IN_WORDS = {
    _TEXT: "has to be 1 to 253 characters, none of them a control character",
    _DIGEST: "has to be 64 lower-case hex digits",
    _REVISION: "has to be 1 to 128 letters, digits, dots, underscores and hyphens",
    _HOST: "has to be an address or the name of a host",
}

_Text = Annotated[str, Field(pattern=_TEXT)]
_Host = Annotated[str, Field(pattern=_HOST)]
_EngineName = Literal[
    "auto", "torch", "torch-compiled", "ncnn", "onnxruntime", "openvino", "openvino-bf16"
]
_Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(BaseSettings):
    """What the server can be told."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    model_path: Path = Path("/model")
    """The artifact's folder: `model.json` and the weights file that it names."""

    model_sha256: str | None = Field(default=None, pattern=_DIGEST)
    """The artifact's digest, 64 lower-case hex digits; other bytes are refused. None: any."""

    model_name: _Text | None = None
    """The name that answers, logs and metrics carry. None: the one in `model.json`."""

    model_version: _Text = "local"
    """The registered version that answers, logs and metrics carry."""

    revision: str = Field(default="local", pattern=_REVISION)
    """The deployment's revision id that answers, logs and metrics carry."""

    environment: _Text = "production"
    """Where this runs, in every log line. `development` prints logs for eyes, not as JSON."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged. Requests are INFO; probes and metrics' readings are DEBUG."""

    log_requests_per_second: int = Field(default=100, ge=0)
    """How many answered, and how many refused, requests are logged. 0: all of them."""

    host: _Host = "0.0.0.0"  # noqa: S104 - a pod's server is reached on the pod's address
    """The address to listen on."""

    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on. 0 takes a free one and logs it."""

    drain_seconds: float = Field(default=15.0, ge=0, le=3600)
    """How long requests are still answered after SIGTERM. 0 stops listening at once."""

    request_timeout_seconds: _Seconds = 30.0
    """How long one request may take: its body, the queue and the prediction together."""

    body_timeout_seconds: _Seconds = 10.0
    """How long a request's body may take to arrive."""

    connection_max_age_seconds: _Seconds = 15.0
    """The first answer on a connection older than this closes it, so that a switch reaches all."""

    keep_alive_seconds: int = Field(default=75, ge=1, le=3600)
    """How long a connection may be idle before the server closes it."""

    max_connections: int = Field(default=4096, ge=1)
    """How many connections may be open; for one more the one that has waited longest is closed."""

    max_body_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    """The longest body that is read, in bytes."""

    max_bodies_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    """The most bytes of bodies held at a time, arriving or predicted; a quarter is for those up to
    1 MiB alone. Never less than one of the longest.
    """

    max_image_pixels: int = Field(default=32_000_000, ge=1)
    """The largest picture that is decoded, in pixels (width x height), by its header."""

    max_request_pixels: int = Field(default=128_000_000, ge=1)
    """The most pixels in all pictures of one request together, by their headers."""

    max_images_per_request: int = Field(default=32, ge=1)
    """How many pictures one request may hold."""

    queue_size: int = Field(default=128, ge=0)
    """How many requests may wait for an inference thread; one more is answered 503. The default is
    about half a second of one CPU's work: what a pod needs whose neighbour has just gone.
    """

    max_queue_seconds: _Seconds = 10.0
    """How long a request may wait for an inference thread; then it is answered 503."""

    inference_threads: int | None = Field(default=None, ge=1, le=256)
    """How many requests are decoded and predicted at a time. None: one per CPU of the limit."""

    engine: _EngineName = "auto"
    """What runs the network. `auto` takes the fastest that is installed and faithful."""

    decoding: Literal["auto", "full", "reduced"] = "auto"
    """How large JPEGs are decoded. `auto` decodes them at reduced scale where that is faithful."""

    mirror_config: Path = Path("/etc/cv-factory/mirror/mirror.json")
    """The mirror's configuration, read again every second. No such file: nothing is mirrored."""

    mirror_queue_size: int = Field(default=64, ge=1)
    """How many copies may wait to be sent to a shadow; one more is dropped."""

    mirror_queue_bytes: int = Field(default=32 * 1024 * 1024, ge=1)
    """How many bytes of bodies may be held for copies, those under way included."""

    mirror_concurrency: int = Field(default=8, ge=1, le=256)
    """How many copies are sent at a time, each on a connection of its own."""

    mirror_timeout_seconds: _Seconds = 5.0
    """How long sending one copy, and reading its answer, may take."""


def load(**overrides: Any) -> Settings:
    """Return the settings of the environment; `overrides` that are not None win.

    Raises:
        SettingsError: a value is wrong; the sentence names it, its value and what it means.

    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from error


def lookalikes(names: Iterable[str]) -> dict[str, str]:
    """Return variables that are almost one of the settings, each with the setting it resembles.

    Only names of two words and more are compared: what else is in the environment, above all what
    Kubernetes adds for every Service, is not the server's business.
    """
    ours = [name.upper() for name in Settings.model_fields]
    compared = [name for name in ours if "_" in name]
    found = {}
    for name in names:
        if name.upper() not in ours:
            for close in difflib.get_close_matches(name.upper(), compared, n=1, cutoff=0.9):
                found[name] = close
    return found


def _sentence(error: ValidationError) -> str:
    """Name the first wrong setting: one at a time is how they are mended."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]).upper()
    pattern = first.get("ctx", {}).get("pattern", "")
    reason = _IN_WORDS.get(pattern, first["msg"][0].lower() + first["msg"][1:])
    return f"The setting {name} is {first['input']!r}, but {reason}: correct it and start again."
