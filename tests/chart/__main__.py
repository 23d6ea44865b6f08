"""Every flag of the chart: `helm lint`, each object by the schemas of each Kubernetes, checkov.

    make test-chart

What checkov finds is explained in `exceptions.yaml`.

checkov and what it needs are large, so they live in a virtual environment of their own, in the
cache folder. Nothing is downloaded but the packages, and nothing is sent anywhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dev.cluster.paths import cache_dir
from tests.chart import schemas
from tests.chart.rendering import FLAGS, lint, rendered

CHECKOV = "checkov==3.3.30"
EXCEPTIONS = Path(__file__).with_name("exceptions.yaml")


@dataclass(frozen=True, order=True)
class Finding:
    """One check that one kind of object fails."""

    check: str
    kind: str
    words: str


def program() -> Path:
    """checkov, installed where it is not there yet."""
    folder = cache_dir() / "tools" / CHECKOV
    if not (folder / "bin/checkov").exists():
        print(f"test-chart: {CHECKOV} is installed, which takes some minutes", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, CHECKOV], check=True)
    return folder / "bin/checkov"


def scan(flags: Sequence[str]) -> tuple[int, set[Finding]]:
    """How many checks the objects of some flags pass, and what was found."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for flag in flags:
            manifest = Path(folder) / f"{flag}.yaml"
            manifest.write_text(yaml.safe_dump_all(rendered(flag)))
            files += ["--file", str(manifest)]
        done = subprocess.run(
            [str(program()), *files, "--framework", "kubernetes",
             "--output", "json", "--quiet", "--soft-fail", "--skip-download"],
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"test-chart: checkov ended with {done.returncode}: {done.stderr[-500:]}")
    report = json.loads(done.stdout)
    return report["summary"]["passed"], {found(one) for one in report["results"]["failed_checks"]}


def found(check: dict[str, Any]) -> Finding:
    """As the exceptions name it: `Deployment.system.cv-factory-operator` is of kind Deployment."""
    return Finding(check["check_id"], check["resource"].partition(".")[0], check["check_name"])


def faults() -> list[str]:
    """What helm and the schemas object to."""
    answers = {flag: lint(flag) for flag in FLAGS}
    found = [
        f"helm lint, {flag}: {done.stdout}" for flag, done in answers.items() if done.returncode
    ]
    with schemas.read_once():
        return found + [words for each in schemas.VERSIONS for words in schemas.refusals(each)]


def main() -> int:
    """Prints one line of figures; 1 where something is wrong, or not explained."""
    wrong = faults()
    explained = {
        (one["check"], kind): one["because"]
        for one in yaml.safe_load(EXCEPTIONS.read_text())["exceptions"]
        for kind in one["kinds"]
    }
    passed, findings = scan(list(FLAGS))
    new = sorted(one for one in findings if (one.check, one.kind) not in explained)
    unused = sorted(set(explained) - {(one.check, one.kind) for one in findings})
    for words in wrong:
        print(words)
    for one in new:
        print(f"not explained: {one.check} {one.kind}: {one.words}")
    for check, kind in unused:
        print(f"explained, and not found any more: {check} {kind}")
    print(
        f"test-chart: flags linted and rendered {len(FLAGS)}, "
        f"objects {len(schemas.distinct())} x versions {len(schemas.VERSIONS)} validated, "
        f"faults {len(wrong)}; checkov: checks passed {passed}, findings {len(findings)}, "
        f"explained {len(findings) - len(new)}, not explained {len(new)}, stale {len(unused)}"
    )
    return 1 if wrong or new or unused else 0


if __name__ == "__main__":
    sys.exit(main())
