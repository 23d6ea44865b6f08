"""spec.traffic: how clients reach the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from model_operator.api.base import ApiType, PodFragment, SecretReference


class ServiceSettings(ApiType):
    """Settings of the endpoint's Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="The Service's type."
    )
    annotations: dict[str, str] | None = Field(
        default=None, description="Annotations of the Service, for example for a load balancer."
    )


class ParentReference(ApiType):
    """Names a Gateway."""

    name: str = Field(min_length=1, max_length=253, description="The Gateway's name.")
    namespace: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description="Its namespace. Default: the resource's own.",
    )
    section_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="One of its listeners. Default: all of them.",
    )
    port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        default=None, description="One of its ports. Default: all of them."
    )


class GatewaySettings(ApiType):
    """Settings of provider GatewayAPI."""

    parent_refs: list[ParentReference] = Field(
        min_length=1, max_length=32, description="The Gateways that the route is attached to."
    )
    hostnames: list[Annotated[str, StringConstraints(min_length=1, max_length=253)]] | None = Field(
        default=None,
        max_length=16,
        description="Host names that the route answers to, for example cats.example.com or "
        "*.example.com. Default: all of the Gateway's.",
    )


FieldName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Sticky(ApiType):
    """What of a request says whose it is: one of the two."""

    header: FieldName | None = Field(
        default=None, description="The header whose value decides, for example X-User."
    )
    cookie: FieldName | None = Field(
        default=None, description="The cookie whose value decides, for example session."
    )


class RouterSettings(ApiType):
    """Settings of provider Router. A change of sticky or forceHeader restarts nothing."""

    sticky: Sticky | None = Field(
        default=None,
        description="Lets requests with the same header or cookie stay on one revision while the "
        "weight stays, and change it one way only while the weight rises. Default: each request "
        "for itself.",
    )
    force_header: FieldName | None = Field(
        default=None,
        description="The header by which a client names a revision, for example X-Model-Revision: "
        "stable, canary or a revision's id, whatever its weight is. Default: none.",
    )
    replicas: Annotated[int, Field(ge=1, le=50)] | None = Field(
        default=None, description="How many router pods. Default: 2 for a new router."
    )
    image: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="The router's image. Default: for a new router the operator's, and from then "
        "on that one, until an image is named here.",
    )
    image_pull_secrets: list[SecretReference] | None = Field(
        default=None, max_length=16, description="Secrets for pulling the image."
    )
    resources: PodFragment | None = Field(
        default=None, description="Requests and limits of the router's container."
    )


class Traffic(ApiType):
    """How clients reach the model."""

    provider: Literal["Service", "Router", "GatewayAPI"] = Field(
        default="Service",
        description="What divides requests between two revisions. Service: the Service itself, by "
        "the number of pods; needs nothing. Router: a proxy of this operator's, exact. "
        "GatewayAPI: a Gateway of the cluster's, exact.",
    )
    gateway: GatewaySettings | None = Field(
        default=None,
        description="Settings of provider GatewayAPI, which needs them.",
    )
    router: RouterSettings | None = Field(default=None, description="Settings of provider Router.")
    service: ServiceSettings = Field(
        default=ServiceSettings(),
        description="The Service named like the resource, ports 80 and 8000.",
    )
