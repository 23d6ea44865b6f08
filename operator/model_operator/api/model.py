"""spec.model: which model is served, and how it is fetched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from model_operator.api.base import ApiType, SecretReference


class ModelSource(ApiType):
    """Which model to serve, and how it is fetched."""

    uri: str = Field(
        max_length=1024,
        description="Where the model is. models:/NAME/VERSION: a version in the MLflow model "
        "registry. models:/NAME@ALIAS: the version that an alias names, looked up when spec.model "
        "changes. runs:/RUN_ID/PATH: an artifact of an MLflow run. s3://BUCKET/KEY: in "
        "object storage. https://HOST/PATH: on a web server. pvc://CLAIM/PATH: a folder of a "
        "PersistentVolumeClaim of the same namespace.",
    )
    sha256: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None,
        description="Pins the artifact's digest, 64 hexadecimal digits: any other bytes are "
        "refused. Default: the tag sha256 of the registered version; where there is none, what a "
        "Job computes once.",
    )
    update_policy: Literal["Pinned", "FollowAlias"] = Field(
        default="Pinned",
        description="Pinned: the uri is looked up when spec.model changes, and stays what it was "
        "then. FollowAlias: an alias that is moved in the registry is a new revision; while the "
        "registry does not answer, nothing changes.",
    )
    required_tags: dict[str, Annotated[str, StringConstraints(max_length=5000)]] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="Tags that the registered version must have, by name and value, for example "
        "validation: passed. Without them it is not served; the registry is asked again by and "
        "by, so a version that gets them goes live without another apply.",
    )
    registry: str | None = Field(
        default=None,
        max_length=1024,
        description="The address of another MLflow server than the operator's own, for example "
        "http://mlflow.ml:5000. The operator's settings must allow its host, and it must answer "
        "the operator without a login: the operator's own goes to its own registry alone.",
    )
    credentials_secret_ref: SecretReference | None = Field(
        default=None,
        description="A Secret whose keys become environment variables of the container that "
        "fetches the model, and of no other, for example MLFLOW_TRACKING_TOKEN, AWS_ACCESS_KEY_ID "
        "or FETCH_BEARER_TOKEN.",
    )
