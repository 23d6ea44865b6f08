"""Runs the layers of the tests, and says in one line each what was skipped and why.

    python -m dev.test            all of them
    python -m dev.test unit api   only these

A layer that a machine can run may not be skipped there: with CI=true, or as root on Debian, a
skipped layer is a failure.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import controlplane
from dev.cluster.choice import choose
from dev.cluster.errors import ClusterError
from dev.images import __main__ as images
from dev.images.errors import ImageError
from dev.images.labels import version
from dev.setup import can_install_debian_packages
from model_server.cpu_limit import available_cpus

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Layer:
    """One kind of tests, chosen by its marker."""

    name: str
    marker: str
    prepare: Callable[[], None]
    """Makes what the tests need; raises ClusterError with a sentence when that cannot be had."""
    side_by_side: bool = False
    """Whether they are divided among as many processes as there are CPUs."""


@dataclass(frozen=True)
class Result:
    """What became of one layer."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    missing: str = ""
    """Why the whole layer was skipped."""

    def line(self) -> str:
        """For the summary."""
        if self.missing:
            return f"{self.name:5} skipped: {self.missing}"
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"{self.name:5} {counts} in {self.seconds:.0f} s"


def prepare_api() -> None:
    """The programs of a control plane, built where they are not there yet."""
    if "KUBEBUILDER_ASSETS" not in os.environ:
        controlplane.prepare()


def prepare_e2e() -> None:
    """A healthy cluster with the images of this checkout in it."""
    choose().up()
    images.build(list(images.IMAGES), version())
    images.load(list(images.IMAGES), version())


LAYERS = (
    Layer("unit", "not api and not fault and not e2e", lambda: None, side_by_side=True),
    Layer("api", "api", prepare_api),
    Layer("fault", "fault", prepare_api),
    Layer("e2e", "e2e", prepare_e2e),
)


def run(layer: Layer) -> Result:
    """Prepares and runs one layer; pytest's own output goes to the terminal."""
    started = time.monotonic()
    try:
        layer.prepare()
    except (ClusterError, ImageError) as error:
        return Result(layer.name, missing=str(error))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", layer.marker, f"--junitxml={report}"]
        if layer.side_by_side:
            command += ["-n", str(math.ceil(available_cpus())), "--dist", "worksteal"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        counts = count(report) if report.exists() else (0, 0, 0)
    passed, failed, skipped = counts
    if code == 0 and not passed:
        return Result(layer.name, missing=f"each of its {skipped} tests skipped itself, see above")
    broken = code != 0 and failed == 0
    return Result(layer.name, passed, failed + broken, skipped, seconds=time.monotonic() - started)


def count(report: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped tests of a JUnit report."""
    suites = ET.parse(report).getroot().iter("testsuite")
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


def must_run_everything() -> bool:
    """Whether this machine has no excuse for a skipped layer."""
    return os.environ.get("CI") == "true" or can_install_debian_packages()


def main() -> int:
    """Runs the chosen layers; exit status 1 when a test or a layer that must run failed."""
    parser = argparse.ArgumentParser(description="Run the tests, layer by layer.")
    parser.add_argument(
        "layers", nargs="*", metavar="LAYER", help="unit, api, fault, e2e (default: all)"
    )
    chosen = parser.parse_args().layers or [layer.name for layer in LAYERS]
    if unknown := set(chosen) - {layer.name for layer in LAYERS}:
        parser.error(f"no such layer: {', '.join(sorted(unknown))}")
    results = [run(layer) for layer in LAYERS if layer.name in chosen]
    print()
    for result in results:
        print(result.line())
    strict = must_run_everything()
    missing = [result.name for result in results if result.missing]
    if missing and strict:
        print(f"skipped here, where it may not be: {', '.join(missing)}")
    failed = sum(result.failed for result in results) + (len(missing) if strict else 0)
    passed = sum(result.passed for result in results)
    skipped = sum(result.skipped for result in results)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
