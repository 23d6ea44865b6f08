"""The data report: what is the matter with the files of a folder. Nothing is deleted.

`prepare --check` makes one of a whole folder; training makes one of what it has read anyway.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_training.data import ImageFolder, Sample
from model_training.pictures import LEFT_OUT, Finding, Kind

REPORT_FILE = "data_report.json"


@dataclass(frozen=True)
class DataReport:
    """All findings of one folder, ordered by what they are and by path."""

    root: Path
    data_version: str
    images: int
    """Files that are taken for images, the ones that are left out included."""
    findings: tuple[Finding, ...]

    @property
    def left_out(self) -> tuple[Finding, ...]:
        """What cannot be trained on."""
        return tuple(finding for finding in self.findings if finding.kind in LEFT_OUT)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many findings there are of each kind."""
        found = Counter(finding.kind for finding in self.findings)
        return {str(kind): found[kind] for kind in Kind if found[kind]}

    def write(self, path: Path) -> None:
        """Writes it as JSON: `findings` has the path, the kind and the detail of every one."""
        content = {
            "folder": str(self.root),
            "data_version": self.data_version,
            "images": self.images,
            "left_out": len(self.left_out),
            "counts": dict(self.counts),
            "findings": [vars(finding) for finding in self.findings],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def report(folder: ImageFolder, decoding: Iterable[Finding]) -> DataReport:
    """Joins what decoding has found with the copies in the folder."""
    findings = sorted(
        [*folder.unread, *decoding, *copies(folder)],
        key=lambda finding: (finding.kind, finding.path),
    )
    images = len(folder.samples) + len(folder.unread)
    return DataReport(folder.root, folder.fingerprint, images, tuple(findings))


def copies(folder: ImageFolder) -> Iterable[Finding]:
    """Every file whose bytes stand in another one as well; the first of each class is not named.

    Copies are used: they stand on the same side of every split.
    """
    by_bytes: dict[str, list[Sample]] = {}
    for sample in folder.samples:
        by_bytes.setdefault(sample.sha256, []).append(sample)
    for same in by_bytes.values():
        first: dict[int, Sample] = {}
        for sample in sorted(same, key=lambda sample: sample.path):
            if sample.label in first:
                yield Finding(sample.path, Kind.DUPLICATE, f"as {first[sample.label].path}")
            first.setdefault(sample.label, sample)
        if len(first) > 1:
            for label, sample in first.items():
                others = [other.path for key, other in first.items() if key != label]
                yield Finding(sample.path, Kind.CONTRADICTION, f"as {', '.join(others)}")
