"""spec.traffic: how clients reach the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from model_operator.api.base import ApiType


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
    service: ServiceSettings = Field(
        default=ServiceSettings(),
        description="The Service named like the resource, ports 80 and 8000.",
    )
