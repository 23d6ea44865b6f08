"""The rules that Prometheus evaluates: played by promtool, and complete."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operator.prometheus_process import program

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "charts/cv-factory/files/rules.yaml"
PLAYED = sorted(Path(__file__).parent.glob("rules*.yaml"))


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules(kind: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


@pytest.mark.parametrize("path", PLAYED, ids=lambda path: path.stem)
def test_every_alert_fires_when_it_should_and_not_before(path: Path):
    promtool("test", "rules", path)


def test_every_alert_is_played_both_firing_and_silent():
    played: dict[str, set[bool]] = {}
    for path in PLAYED:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                played.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert played == {rule["alert"]: {True, False} for rule in rules("alert")}


def test_the_scrape_configuration_is_one_and_its_rules_are_the_charts(tmp_path: Path):
    text = (ROOT / "observability/prometheus.yml").read_text()
    (relative,) = yaml.safe_load(text)["rule_files"]
    assert (ROOT / "observability" / relative).resolve() == RULES
    # Debian's build knows no Kubernetes; what it finds there is the cluster's business.
    known = text.replace("kubernetes_sd_configs: [{role: pod}]", "static_configs: [{targets: [a]}]")
    (tmp_path / "prometheus.yml").write_text(known.replace(relative, str(RULES)))
    said = promtool("check", "config", tmp_path / "prometheus.yml")
    assert f"{len(rules('alert') + rules('record'))} rules found" in said


def test_the_documentation_has_a_row_for_each_alert_with_its_severity():
    rows = re.findall(
        r"^\| `(Model\w+)` \| (\w+) \|",
        (ROOT / "docs/observability.md").read_text(),
        re.MULTILINE,
    )
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in rules("alert")]


def test_every_recorded_series_is_used_by_an_alert_or_a_dashboard():
    recorded = {rule["record"] for rule in rules("record")}
    users = [rule["expr"] for rule in rules("alert") + rules("record")]
    users += [path.read_text() for path in (ROOT / "charts/cv-factory/files").glob("*/*.json")]
    assert {name for name in recorded if not any(name in text for text in users)} == set()
