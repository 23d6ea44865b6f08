"""`make test-contract` and `make test-mirror`: some tests, and their figures in one last line.

The tests themselves write their figures; this runs them, collects those lines, counts what has
passed, and fails when a test does or when a figure is missing.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET


@dataclass(frozen=True)
class Suite:
    """What is run, and what is said of it at the end."""

    tests: tuple[str, ...]
    written: tuple[str, ...]
    """A pattern for each line that a test writes; its group is the figure."""
    counted: tuple[tuple[str, str], ...] = ()
    """What to call the tests whose class or name holds a string: `N of N`."""


SUITES = {
    "contract": Suite(
        tests=(
            "tests/server/test_bad_inputs.py",
            "tests/server/test_openapi.py",
            "tests/server/test_v2.py",
            "tests/server/test_v2_protocol.py",
            "tests/contract",
        ),
        written=(
            r"(bad inputs \d+, answered as listed \d+, 500s \d+)",
            r"(schemathesis: requests \d+, checks \d+, findings \d+)",
        ),
        counted=(
            ("tests.server.test_v2.", "V2 client"),
            ("tests.server.test_v2_protocol.", "V2 protocol"),
            ("test_the_server_makes_the_golden_tensor", "golden tensors of the server"),
            ("test_trainings_evaluation_makes_the_golden_tensor", "golden tensors of training"),
        ),
    ),
    "mirror": Suite(tests=("tests/server/test_mirror_faults.py",), written=(r"mirror: (.*)",)),
}


def main() -> int:
    """Run one suite; exit status 1 when a test fails, is skipped, or writes no figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.figures", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    suite = SUITES[parser.parse_args().suite]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}")
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *suite.tests],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            output += line
        status = process.wait()
        results = outcomes(report) if report.exists() else []
    written, missing = figures(suite, output)
    counted = [count(results, part, label) for part, label in suite.counted]
    done = sum(passed for _, passed in results)
    parts = [*written, *counted, f"tests {done} of {len(results)} passed"]
    parts += [f"no figures for {pattern!r}" for pattern in missing]
    sys.stdout.write("; ".join(parts) + "\n")
    return 0 if status == 0 and results and done == len(results) and not missing else 1


def outcomes(report: Path) -> list[tuple[str, bool]]:
    """Return each test as `module.name`, and whether it has passed."""
    return [
        (f"{case.get('classname')}.{case.get('name')}", not names & {"failure", "error", "skipped"})
        for case in ET.parse(report).iter("testcase")
        for names in [{child.tag for child in case}]
    ]


def figures(suite: Suite, output: str) -> tuple[list[str], list[str]]:
    """Return the figures that were written, and the patterns of those that were not."""
    found = {pattern: re.search(pattern, output) for pattern in suite.written}
    return (
        [match[1] for match in found.values() if match],
        [pattern for pattern, match in found.items() if not match],
    )


def count(results: list[tuple[str, bool]], part: str, label: str) -> str:
    """Say how many of the tests whose name holds `part` have passed."""
    counted = Counter(passed for name, passed in results if part in name)
    return f"{label} {counted[True]} of {counted.total()}"


if __name__ == "__main__":
    sys.exit(main())
