"""What the resource's types are made of: their base, the group's names, shared field types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

GROUP = "cvfactory.dev"
VERSION = "v1alpha1"
KIND = "ModelDeployment"
PLURAL = "modeldeployments"
API_VERSION = f"{GROUP}/{VERSION}"

# Leaves room for "-" and a revision's ten digits within the 63 characters of a DNS label.
NAME_MAX_LENGTH = 50

Seconds = Annotated[int, Field(ge=0, le=86_400)]
# What a text of this kind must look like is a rule in `validation`, which answers in a sentence.
Duration = Annotated[str, StringConstraints(max_length=6)]
Label = Annotated[str, StringConstraints(max_length=63)]
# A fragment of a pod, handed to Kubernetes as it is and validated there.
PodFragment = dict[str, Any]


class ApiType(BaseModel):
    """Base of all types: camelCase on the wire, immutable, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


@dataclass(frozen=True)
class Needs:
    """Annotates a PodFragment with one text member that it must have and that rules read.

    What else the fragment holds stays Kubernetes' business; it remains a plain dict.
    """

    member: str
    description: str
    max_length: int

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        written = handler(schema)
        member = {
            "type": "string",
            "description": self.description,
            "minLength": 1,
            "maxLength": self.max_length,
        }
        return {
            **written,
            "properties": {**written.get("properties", {}), self.member: member},
            "required": [*written.get("required", []), self.member],
        }

    def _checked(self, fragment: PodFragment) -> PodFragment:
        text = fragment.get(self.member)
        if not isinstance(text, str) or not 0 < len(text) <= self.max_length:
            raise ValueError(f"{self.member} must be a text of 1 to {self.max_length} characters")
        return fragment


class SecretReference(ApiType):
    """Names a Secret in the resource's own namespace."""

    name: str = Field(min_length=1, max_length=253, description="The Secret's name.")
