"""What continuous deployment runs: rendering, a commit for ArgoCD, and telling how it ended."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev import deploy

TAG = "5f3c0de"
VALUES = """\
# the operator in production
replicas: 2
image:
  tag: "0.1.0"   # written by CD
serverImage:
  tag: 0.1.0
routerImage:
  tag: ""
"""


def test_what_is_rendered_has_the_releases_images_and_no_pod_of_a_test():
    bodies = [body for body in yaml.safe_load_all(deploy.render(TAG)) if body]
    (operator,) = [body for body in bodies if body["kind"] == "Deployment"]
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f"/operator:{TAG}")
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["CV_FACTORY_SERVER_IMAGE"].endswith(f"/model-server:{TAG}")
    assert environment["CV_FACTORY_ROUTER_IMAGE"].endswith(f"/model-router:{TAG}")
    assert "Pod" not in {body["kind"] for body in bodies}


def test_the_values_are_those_that_the_environment_names(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "values.yaml").write_text("replicas: 3\n")
    monkeypatch.setenv("DEPLOY_VALUES", str(tmp_path / "values.yaml"))
    assert "replicas: 3" in deploy.render(TAG)
    (tmp_path / "values.yaml").write_text("replica: 3\n")
    assert deploy.main(["render", "--tag", TAG]) == 1
    assert "replica" in capsys.readouterr().err


def git(*arguments: str, at: Path) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    command = ["git", "-C", str(at), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A GitOps repository that can be pushed to."""
    work, bare = tmp_path / "work", tmp_path / "gitops.git"
    work.mkdir()
    git("init", "--quiet", "--initial-branch=main", at=work)
    (work / "prod.yaml").write_text(VALUES)
    git("add", ".", at=work)
    git("commit", "--quiet", "--message", "Begin", at=work)
    git("clone", "--quiet", "--bare", ".", str(bare), at=work)
    return bare


def test_a_commit_names_the_tag_for_every_image_and_changes_nothing_else(repository: Path):
    arguments = ["commit", "--tag", TAG, "--repository", str(repository), "--file", "prod.yaml"]
    assert deploy.main(arguments) == 0
    after = git("show", "main:prod.yaml", at=repository)
    images = ("image", "serverImage", "routerImage")
    expected = {"replicas": 2, **{name: {"tag": TAG} for name in images}}
    assert yaml.safe_load(after) == expected
    assert after.startswith("# the operator in production\n")
    assert git("log", "--format=%s", "main", at=repository).splitlines() == [
        f"Deploy {TAG}",
        "Begin",
    ]


def test_the_same_release_again_makes_no_commit(repository: Path, capsys):
    arguments = ["commit", "--tag", TAG, "--repository", str(repository), "--file", "prod.yaml"]
    assert deploy.main(arguments) == deploy.main(arguments) == 0
    assert "already" in capsys.readouterr().out
    assert len(git("log", "--format=%s", "main", at=repository).splitlines()) == 2


@pytest.mark.parametrize("file", ["absent.yaml", "other.yaml"])
def test_a_file_without_a_tag_fails_with_a_sentence(
    repository: Path, tmp_path: Path, file: str, capsys
):
    work = tmp_path / "work"
    (work / "other.yaml").write_text("replicas: 2\n")
    git("add", ".", at=work)
    git("commit", "--quiet", "--message", "Another", at=work)
    git("push", "--quiet", str(repository), "main", at=work)
    arguments = ["commit", "--tag", TAG, "--repository", str(repository), "--file", file]
    assert deploy.main(arguments) == 1
    assert file in capsys.readouterr().err


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    told: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", told
        server.shutdown()


def test_a_webhook_is_told_how_it_ended_and_where_to_look(webhook, monkeypatch):
    url, told = webhook
    monkeypatch.setenv("NOTIFY_URL", url)
    monkeypatch.setenv("RUN_URL", "https://example.com/runs/1")
    assert deploy.main(["notify", "--outcome", "failed"]) == 0
    assert told == [{"text": "CV Factory: deployment failed: https://example.com/runs/1"}]


def test_without_a_webhook_the_log_has_it(monkeypatch, capsys):
    monkeypatch.delenv("NOTIFY_URL", raising=False)
    assert deploy.main(["notify", "--outcome", "succeeded"]) == 0
    assert "deployment succeeded (nobody is told" in capsys.readouterr().out
