"""The model card: what a model is, what it was made from and how good it is, as Markdown.

After Mitchell et al., "Model Cards for Model Reporting" (2019). Made from a run's own figures;
it has no time in it, so the same run gives the same card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_training.calibration import calibration_error
from model_training.check import DataReport
from model_training.config import TrainConfig
from model_training.evaluate import Evaluation
from model_training.figures import per_class
from model_training.manifest import Description

CARD_FILE = "model_card.md"
LIMITS = (
    "It names one of its classes for every picture, also for one that shows none of them. Its"
    " figures hold for pictures like those that it was tested on; on others it can be wrong and"
    " sure. It was judged by nothing but the classes: not by who or what else a picture shows."
)


@dataclass(frozen=True)
class Calibrated:
    """The test before and after the temperature."""

    temperature: float
    before: Evaluation
    after: Evaluation


def model_card(
    description: Description,
    config: TrainConfig,
    data: DataReport,
    images: Mapping[str, int],
    judged: Calibrated,
    sha256: str,
) -> str:
    """The card of a model that this run has made."""
    classes = description.classes
    low, high = judged.after.interval
    spec = description.input
    rows = [
        f"| {row.name} | {row.images} | {row.precision:.2%} | {row.recall:.2%} | {row.auc:.4f} |"
        for row in per_class(judged.after, classes)
    ]
    lines = [
        f"# {description.name}",
        "",
        f"An image classifier: {', '.join(classes)}.",
        "",
        "## How good it is",
        "",
        (
            f"Accuracy {judged.after.accuracy:.2%} (95% interval {low:.2%} to {high:.2%}) on"
            f" {judged.after.images} test images that it never saw and that chose nothing."
        ),
        "",
        "| class | test images | precision | recall | area under ROC |",
        "| --- | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        (
            f"Its confidences are calibrated by temperature {judged.temperature:.4f}, chosen on the"
            f" validation images: expected calibration error {calibration_error(judged.before):.2%}"
            f" before, {calibration_error(judged.after):.2%} after, on the test images."
        ),
        "",
        "## What it was made from",
        "",
        (
            f"- Images: {', '.join(f'{part} {count}' for part, count in images.items())};"
            f" data version `{data.data_version}`"
        ),
        (
            f"- Left out because they cannot be read: {len(data.left_out)}; other findings:"
            f" {_findings(data.counts, data)}"
        ),
        (
            f"- Input: {spec.height} x {spec.width} pixels, RGB; bilinear resize, mean"
            f" {list(spec.mean)}, deviation {list(spec.std)}"
        ),
        f"- Network: {_architecture(description)}",
        f"- Settings: {_settings(config)}",
        f"- SHA-256 of the artifact: `{sha256}`",
        "",
        "## What it is not for",
        "",
        LIMITS,
        "",
    ]
    return "\n".join(lines)


def _findings(counts: Mapping[str, int], data: DataReport) -> str:
    left_out = {finding.kind for finding in data.left_out}
    others = {kind: count for kind, count in counts.items() if kind not in left_out}
    return ", ".join(f"{kind} {count}" for kind, count in others.items()) or "none"


def _architecture(description: Description) -> str:
    architecture = description.architecture
    channels = ", ".join(map(str, architecture.channels))
    return f"{architecture.name}, channels {channels}, depth {architecture.depth}"


def _settings(config: TrainConfig) -> str:
    values: dict[str, Any] = config.model_dump(exclude={"name", "channels", "depth", "size"})
    return ", ".join(f"{name} {value}" for name, value in values.items())
