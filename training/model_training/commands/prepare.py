"""`model-train prepare`: draws the synthetic pictures."""

from __future__ import annotations

import argparse
import time

from model_training.data import scan
from model_training.report import Summary, progress_bars
from model_training.synthetic import write_pictures


def run(arguments: argparse.Namespace) -> Summary:
    """Draws the synthetic pictures."""
    started = time.monotonic()
    with progress_bars() as bars:
        task = bars.add_task("pictures", total=arguments.synthetic, note="")
        write_pictures(
            arguments.out,
            arguments.synthetic,
            seed=arguments.seed,
            on_image=lambda: bars.advance(task),
        )
    return {
        "folder": str(arguments.out),
        "images": arguments.synthetic,
        "data_version": scan(arguments.out).fingerprint,
        "seconds": round(time.monotonic() - started, 1),
    }
