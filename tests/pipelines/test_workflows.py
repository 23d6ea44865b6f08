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

from tests.chart.rendering import NEWEST

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent
PINNED = re.compile(r"^[\w-]+/[\w./-]+@[0-9a-f]{40}$")
PREPARES = "apt-get update -q && apt-get install -y -q"
"""What a bare container needs before there is a make."""
MORE = {
    "packages": "write",
    "id-token": "write",
    "security-events": "write",
    "actions": "read",
}
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
    assert set(publishing["needs"]) == set(body["jobs"]) - {"images"}


def test_the_whole_cluster_is_tried_on_every_kubernetes_that_the_chart_is_validated_for():
    versions = workflow("ci")["jobs"]["e2e"]["strategy"]["matrix"]["kubernetes"]
    minors = [int(version.split(".")[1]) for version in versions]
    assert minors == list(range(30, int(NEWEST.split(".")[1]) + 1))


def test_what_needs_debians_programs_runs_as_root_in_debian():
    body = workflow("ci")["jobs"]
    for name, programs in (("unit", ("haproxy", "prometheus")), ("control-plane", ())):
        job = body[name]
        assert job["container"]["image"] == "debian:12"
        assert job["env"]["CI"] == "true", "what is missing fails"
        first = job["steps"][0]["run"]
        assert [one for one in ("make", "git", *programs) if one not in first.split()] == []


def test_a_critical_finding_is_told_before_it_keeps_the_image_back():
    scanning = workflow("ci")["jobs"]["security"]["steps"][-3:]
    uses = [step["uses"].split("@")[0] for step in scanning]
    trivy = "aquasecurity/trivy-action"
    assert uses == [trivy, "github/codeql-action/upload-sarif", trivy]
    telling, gate = scanning[0]["with"], scanning[2]["with"]
    assert "exit-code" not in telling
    assert (gate["severity"], gate["exit-code"]) == ("CRITICAL", "1")
    assert gate["image-ref"] == telling["image-ref"]


def test_the_documentation_is_built_by_every_run():
    assert "make docs" in [step.get("run") for step in workflow("ci")["jobs"]["lint"]["steps"]]


def deploying() -> dict[str, Body]:
    """The steps of continuous deployment by their make targets, in their order."""
    (job,) = workflow("cd")["jobs"].values()
    return {step["run"].split()[1]: step for step in job["steps"] if "run" in step}


def test_a_variable_alone_decides_between_the_chart_and_gitops():
    """So nobody who has a GitOps repository edits the file."""
    steps = deploying()
    for target in ("deploy-diff", "deploy"):
        assert steps[target]["if"] == "vars.GITOPS_REPOSITORY == ''"
    assert steps["deploy-commit"]["if"] == "vars.GITOPS_REPOSITORY != ''"
    for target in ("kubeconfig", "deploy-render", "deploy-status", "deploy-smoke"):
        assert "if" not in steps[target]
    for repository, expected in (("", False), ("https://example.com/gitops.git", True)):
        variables = (f"GITOPS_REPOSITORY={repository}", "TAG=5f3c0de")
        command = ["make", "--dry-run", "deploy-status", *variables]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("--gitops" in done.stdout.split()) is expected


def test_packages_of_others_are_installed_only_after_the_cluster_is_forgotten():
    order = list(deploying())
    assert order.index("kubeconfig-forget") < order.index("deploy-smoke")
    assert deploying()["kubeconfig-forget"]["if"] == "always()"


def test_only_locked_packages_are_installed_beside_credentials():
    command = ["make", "--dry-run", "--always-make", "deploy-smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (install,) = [line for line in done.stdout.splitlines() if "pip install" in line]
    assert "--require-hashes -r requirements/cli.txt" in install


def test_what_is_deployed_are_the_digests_that_ci_has_pushed():
    (publish,) = [
        s for s in workflow("ci")["jobs"]["images"]["steps"] if "upload" in s.get("uses", "")
    ]
    (job,) = workflow("cd")["jobs"].values()
    (fetch,) = [step for step in job["steps"] if "download" in step.get("uses", "")]
    assert fetch["with"]["name"] == publish["with"]["name"]
    assert "workflow_run.id" in fetch["with"]["run-id"]
    assert job["env"]["DIGESTS"] == publish["with"]["path"]
    command = ["make", "--dry-run", "deploy", "DIGESTS=digests.json", "TAG=5f3c0de"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "apply --tag 5f3c0de --digests digests.json" in done.stdout


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
        "kubeconfig-forget",
        "deploy-smoke",
        "deploy-notify",
        "deploy-notify",
    ]


def test_every_secret_and_variable_is_described():
    page = (ROOT / "docs/ci.md").read_text()
    for path in WORKFLOWS:
        for name in re.findall(r"(?:secrets|vars)\.([A-Z_]+)", path.read_text()):
            assert f"`{name}`" in page, name
