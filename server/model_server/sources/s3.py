"""Downloading from S3 and what speaks its protocol: a prefix, or one archive.

Credentials, region and endpoint are found as boto3 finds them (AWS_ACCESS_KEY_ID,
AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ENDPOINT_URL_S3 and so on); none of them is read here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ResponseStreamingError,
    SSLError,
)

from model_server.errors import (
    ArtifactRefused,
    ModelNotFound,
    SettingsError,
    SourceInterrupted,
    SourceUnreachable,
    StartupError,
)
from model_server.sources import archives
from model_server.sources.landing import CHUNK_BYTES, MAX_FILES, Landing, patiently, relative
from model_server.sources.settings import SourceSettings
from model_server.sources.uris import shown

_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>.*)", re.DOTALL)
_GONE = {"NoSuchKey", "NoSuchBucket", "NotFound", "404"}
_EXPIRED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestTimeTooSkewed"}
_INTERRUPTED = (ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)

T = TypeVar("T")


def download(uri: str, into: Path, settings: SourceSettings) -> Path:
    """Return the folder below `into` that holds the files of `uri`.

    Raises:
        SettingsError: `uri` or the endpoint is malformed.
        ArtifactRefused: a key leads out of the folder, or it is too much, or no archive.
        ModelNotFound: there is no such bucket or object.
        SourceUnreachable: the store did not answer as it should, or refuses the credentials.

    """
    found = _URI.fullmatch(uri)
    if not found or not uri.isprintable():
        raise SettingsError(f"The URI {shown(uri)!r} is malformed: write s3://BUCKET/PREFIX/.")
    bucket, key = found["bucket"], found["key"]
    archive = key.lower().endswith(archives.SUFFIXES)
    if not archive and key and not key.endswith("/"):
        raise SettingsError(
            f"{uri} names neither an archive ({', '.join(archives.SUFFIXES)}) nor a prefix, which"
            " ends in a slash: correct the URI."
        )
    store = _Store(bucket, uri, settings)
    landing = Landing(into / "download", uri, settings.max_artifact_bytes)
    if archive:
        file = store.fetch(key, "archive", landing)
        unpacked = Landing(into / "unpacked", uri, settings.max_artifact_bytes, doing="unpacking")
        return archives.unpack(file, unpacked)
    objects = store.objects(key)
    for name in objects:
        relative(name.removeprefix(key), uri)  # all names first: none is fetched in vain
    landing.expect(sum(objects.values()))
    for name in objects:
        store.fetch(name, name.removeprefix(key), landing)
    return landing.folder


class _Store:
    """One bucket."""

    def __init__(self, bucket: str, uri: str, settings: SourceSettings) -> None:
        self._bucket = bucket
        self._uri = uri
        self._settings = settings
        config = Config(
            connect_timeout=settings.fetch_connect_timeout_seconds,
            read_timeout=settings.fetch_read_timeout_seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},  # `patiently` tries again
        )
        self._client = self._explaining(lambda: boto3.Session().client("s3", config=config))

    def objects(self, prefix: str) -> dict[str, int]:
        """Map the keys below `prefix` to their sizes; a console's markers of folders are none."""
        sizes: dict[str, int] = {}
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **more)
            for entry in page.get("Contents", []):
                if not entry["Key"].endswith("/") or entry["Size"]:
                    sizes[entry["Key"]] = entry["Size"]
            if len(sizes) > MAX_FILES:
                raise ArtifactRefused(
                    f"{self._uri} holds more than {MAX_FILES} objects: name the prefix of one"
                    " artifact."
                )
            if not page.get("IsTruncated"):
                break
            more = {"ContinuationToken": page["NextContinuationToken"]}
        if not sizes:
            raise ModelNotFound(f"{self._uri} holds no object: upload the artifact, or correct it.")
        return sizes

    def fetch(self, key: str, name: str, landing: Landing) -> Path:
        """Write the object `key` to the file `name`."""

        def attempt() -> Path:
            answer = self._explaining(lambda: self._client.get_object(Bucket=self._bucket, Key=key))
            with closing(
                answer["Body"]
            ) as body:  # `with` itself would skip the check of its length
                landing.expect(answer.get("ContentLength", 0))
                return landing.write(name, self._chunks(body))

        return patiently(attempt, self._settings)

    def _chunks(self, body: Any) -> Iterator[bytes]:
        while chunk := self._explaining(lambda: body.read(CHUNK_BYTES)):
            yield chunk

    def _call(self, operation: str, **arguments: str) -> Any:
        method = getattr(self._client, operation)
        return patiently(
            lambda: self._explaining(lambda: method(Bucket=self._bucket, **arguments)),
            self._settings,
        )

    def _explaining(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except ClientError as error:
            raise _answered(error, self._uri) from error
        except (BotoCoreError, ValueError, OSError) as error:
            raise _unanswered(error, self._uri) from error


def _answered(error: ClientError, uri: str) -> StartupError:
    """Return what the store's own refusal means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _GONE:
        return ModelNotFound(
            f"{uri} is not there ({code}): upload it, or correct the URI or AWS_ENDPOINT_URL_S3."
        )
    if status in (401, 403) or code in _EXPIRED:
        return SourceUnreachable(
            f"{uri} is refused to these credentials ({code}): correct AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, or what the pod's role may read."
        )
    if status == 429 or status >= 500:
        return SourceInterrupted(
            f"{uri} is answered with status {status} ({code}): check the store; this is tried"
            " again."
        )
    return SourceUnreachable(
        f"{uri} is answered with status {status} ({code}): check the URI, AWS_REGION and the store."
    )


def _unanswered(error: Exception, uri: str) -> StartupError:
    """Return what it means that there is no answer, or no whole one."""
    if isinstance(error, _NO_CREDENTIALS):
        return SourceUnreachable(
            f"There are no credentials for {uri}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
            " or give the pod a role."
        )
    if isinstance(error, SSLError):
        return SourceUnreachable(
            f"The certificate of the store of {uri} is not trusted: mount the certificates that"
            " signed it and name them by AWS_CA_BUNDLE."
        )
    if isinstance(error, _INTERRUPTED):
        return SourceInterrupted(
            f"{uri} cannot be fetched ({type(error).__name__}): check AWS_ENDPOINT_URL_S3 and that"
            " the store is up; a pod tries this again."
        )
    if isinstance(error, (ParamValidationError, ValueError, OSError)):
        return SettingsError(
            f"{uri} cannot be asked for ({type(error).__name__}): correct the URI,"
            " AWS_ENDPOINT_URL_S3 or AWS_CA_BUNDLE."
        )
    return SourceUnreachable(
        f"{uri} cannot be fetched ({type(error).__name__}): check the AWS settings."
    )
