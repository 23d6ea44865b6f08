"""The workflows of GitHub Actions: by GitHub's schema, by a linter, and by this project's rules."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent
PINNED = re.compile(r"^[\w-]+/[\w./-]+@[0-9a-f]{40}$")
PREPARES = "apt-get update -q && apt-get install -y -q"
"""What a bare container needs before there is a make."""
MORE = {"packages": "write", "id-token": "write", "security-events": "write"}
"""What a job may ask for beyond reading the repository."""

Body = dict[str, Any]


def workflow(name: str) -> Body:
    body: Body = yaml.safe_load((GITHUB / "workflows" / f"{name}.yml").read_text())
    return body


def jobs() -> Iterator[tuple[str, Body]]:
    for path in WORKFLOWS:
        for name, job in workflow(path.stem)["jobs"].items():
            yield f"{path.stem}/{name}", job


def steps() -> Iterator[tuple[str, Body]]:
    for name, job in jobs():
        for step in job["steps"]:
            yield name, step


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
        ("vendor.gitlab-ci", [ROOT / "examples/pipelines/gitlab-ci.yml"]),
    ],
)
def test_every_file_is_what_its_schema_says(schema: str, files: list[Path]):
    done = run("check-jsonschema", "--builtin-schema", schema, *map(str, files))
    assert done.returncode == 0, done.stdout


def test_the_linter_finds_nothing():
    done = run("zizmor", "--offline", "--no-progress", "--format", "plain", str(GITHUB))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_by_a_commit_and_says_which_release_that_is():
    for path in WORKFLOWS:
        for line in path.read_text().splitlines():
            if "uses:" in line:
                action, _, comment = line.split("uses:")[1].partition("#")
                assert PINNED.match(action.strip()), line
                assert re.match(r"^ v\d+", comment), line


def test_every_command_is_a_make_target_that_there_is():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, step in steps():
        if "run" not in step or step["run"].startswith(PREPARES):
            continue
        words = step["run"].split()
        assert words[0] == "make", (name, step["run"])
        named = [word for word in words[1:] if "=" not in word and re.match(r"^[a-z0-9-]+$", word)]
        assert named or words[1:] == ['"$LAYER"'], step["run"]
        assert set(named) <= targets, (name, step["run"])


def test_no_workflow_has_a_permission_and_each_job_only_what_it_names():
    for path in WORKFLOWS:
        assert workflow(path.stem)["permissions"] == {}, path.name
    for name, job in jobs():
        permissions = dict(job["permissions"])
        assert permissions.pop("contents") == "read", name
        assert permissions.items() <= MORE.items(), name
        assert 0 < job["timeout-minutes"] <= 120, name
    writing = {name for name, job in jobs() if "packages" in job["permissions"]}
    assert writing == {"ci/images"}


def test_what_is_written_by_others_is_never_part_of_a_command():
    """An expression within a script is code; in the environment it is a value."""
    for name, step in steps():
        assert "${{" not in step.get("run", ""), name
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, name


def test_images_are_published_by_a_push_alone_after_everything_else():
    body = workflow("ci")
    assert body[True]["push"]["branches"] == ["main", "develop"]  # YAML 1.1 reads `on` so
    publishing = body["jobs"]["images"]
    assert publishing["if"] == "github.event_name == 'push'"
    assert {"lint", "unit", "control-plane", "chart", "integration", "security"} == set(
        publishing["needs"]
    )


def test_the_whole_cluster_is_tried_on_every_kubernetes_from_1_30():
    versions = workflow("ci")["jobs"]["e2e"]["strategy"]["matrix"]["kubernetes"]
    minors = [int(version.split(".")[1]) for version in versions]
    assert minors == list(range(30, minors[-1] + 1))
    assert minors[-1] >= 36


def test_a_deployment_follows_only_a_run_for_main_that_succeeded_in_this_repository():
    body = workflow("cd")
    assert body[True]["workflow_run"]["workflows"] == [workflow("ci")["name"]]
    assert body[True]["workflow_run"]["branches"] == ["main"]
    (job,) = body["jobs"].values()
    for words in ("conclusion == 'success'", "event == 'push'", "== github.repository"):
        assert words in job["if"]
    order = [step["run"].split()[1] for step in job["steps"] if "run" in step]
    assert order == [
        "kubeconfig",
        "deploy-render",
        "deploy-diff",
        "deploy",
        "deploy-commit",
        "deploy-status",
        "deploy-smoke",
        "deploy-notify",
        "deploy-notify",
        "kubeconfig-forget",
    ]


def test_every_secret_and_variable_is_described():
    page = (ROOT / "docs/ci.md").read_text()
    for path in WORKFLOWS:
        for name in re.findall(r"(?:secrets|vars)\.([A-Z_]+)", path.read_text()):
            assert f"`{name}`" in page, name
