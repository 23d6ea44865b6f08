"""What `/predict` answers, as the schema shows it. `predict` fills these in."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ModelIdentity(BaseModel):
    """Which model answered."""

    name: str
    version: str
    revision: str


class Answer(BaseModel):
    """The prediction for one picture."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    label: str
    confidence: float
    """The probability of `label`."""
    probabilities: dict[str, float]
    """By class; they sum to 1."""
    model: ModelIdentity
    request_id: str
    inference_time_ms: float
    """Time in the network, of all of the request's pictures together."""
