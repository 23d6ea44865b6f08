"""`model-train prepare`: draws pictures, fetches photographs, or checks a folder of one's own."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from model_training.check import report
from model_training.cifar import write_photographs
from model_training.data import ImageFolder, Split, scan, split_of
from model_training.manifest import InputSpec
from model_training.report import Summary, load_with_bar, note, progress_bars
from model_training.synthetic import write_pictures

CHECKED_AT = InputSpec(height=8, width=8)
"""A check decodes everything and keeps next to nothing."""


def run(arguments: argparse.Namespace) -> Summary:
    """Fills the folder where that is asked, and checks what is in it."""
    started = time.monotonic()
    folder: Path = arguments.check or arguments.out
    with progress_bars() as bars:
        if arguments.synthetic is not None:
            task = bars.add_task("pictures", total=arguments.synthetic, note="")
            write_pictures(
                folder,
                arguments.synthetic,
                seed=arguments.seed,
                on_image=lambda: bars.advance(task),
            )
        elif arguments.cifar10:
            task = bars.add_task("photographs", total=None, note="")
            write_photographs(folder, url=arguments.url, on_image=lambda: bars.advance(task))
        data = scan(folder)
        found = report(
            data, load_with_bar(data, data.samples, CHECKED_AT, bars, "checked").findings
        )
    for finding in found.findings:
        note(f"{finding.kind}: {finding.path} ({finding.detail})")
    if arguments.report:
        found.write(arguments.report)
    return {
        "folder": str(folder),
        "images": found.images,
        "classes": _classes(data),
        "findings": dict(found.counts),
        "left_out": len(found.left_out),
        "data_version": found.data_version,
        "seconds": round(time.monotonic() - started, 1),
    }


def _classes(folder: ImageFolder) -> dict[str, dict[str, int]]:
    """How many images of each class fall into each split, by the usual percentages."""
    counts = {name: dict.fromkeys(map(str, Split), 0) for name in folder.classes}
    for sample in folder.samples:
        part = split_of(sample.sha256, validation_percent=10, test_percent=10)
        counts[folder.classes[sample.label]][str(part)] += 1
    return counts
