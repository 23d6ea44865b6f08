"""`make test-accuracy`: trains as users do, on drawn pictures and on photographs, and judges.

Both on the images that training has kept for the test, by `model-train evaluate`. Every line is
target, measured, met or not; exit status 1 where a model is less accurate than it has to be.
Without the photographs that `tests.photographs` looks for, only the drawn ones are learnt.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.photographs import unpacked

DRAWN = 1000
SECONDS = 3600


@dataclass(frozen=True)
class Bar:
    """What is asked of a training."""

    title: str
    accuracy: float
    seconds: float


SYNTHETIC = Bar("drawn cats and dogs", 0.99, 60)
PHOTOGRAPHS = Bar("photographs of cats and dogs", 0.87, 900)


def model_train(folder: Path, *arguments: object) -> dict[str, Any]:
    """Runs a command; its bars are shown, its summary is returned."""
    command = (sys.executable, "-m", "model_training", *map(str, arguments), "--json")
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True
    )
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def judged(bar: Bar, data: Path, folder: Path, *flags: str) -> Iterator[tuple[str, bool]]:
    """Trains and evaluates; a line for the accuracy and one for the time, each with its verdict."""
    folder.mkdir()
    out = folder / "artifact"
    trained = model_train(folder, "train", "--data", data, "--out", out, *flags)
    figures = model_train(folder, "evaluate", "--artifact", out, "--data", data, "--split", "test")
    low, high = figures["accuracy_interval"]
    met = figures["accuracy"] >= bar.accuracy
    words = (
        f"{bar.title}: target at least {bar.accuracy:.0%} of the test images, measured"
        f" {figures['accuracy']:.2%} of {figures['images']} (95%: {low:.1%} to {high:.1%};"
        f" calibration error {figures['calibration_error']:.1%}), {_verdict(met)}"
    )
    yield words, met
    seconds = trained["seconds"]
    words = f"{bar.title}: target at most {bar.seconds:g} s, measured {seconds:.0f} s"
    yield f"{words}, {_verdict(seconds <= bar.seconds)}", True


def _verdict(met: bool) -> str:
    return "met" if met else "not met"


def main() -> int:
    """Prints what was reached; the last line has all of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.training.accuracy", description=__doc__)
    parser.add_argument("flags", nargs="*", help="more flags for `model-train train`, after --")
    flags = parser.parse_args().flags
    results: list[tuple[str, bool]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model_train(folder, "prepare", "--synthetic", DRAWN, "--out", "drawn")
        results += judged(SYNTHETIC, folder / "drawn", folder / "drawn-run", *flags)
        photographs = unpacked(folder)
        if photographs is not None:
            results += judged(PHOTOGRAPHS, photographs, folder / "photographs-run", *flags)
    lines = [line for line, _ in results]
    if photographs is None:
        lines.append(f"{PHOTOGRAPHS.title}: not measured, they are not here")
    sys.stdout.write("test-accuracy: " + "; ".join(lines) + "\n")
    return 0 if all(met for _, met in results) else 1


if __name__ == "__main__":
    sys.exit(main())
