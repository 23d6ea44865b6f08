"""What continuous deployment runs: rendering, a commit for ArgoCD, and telling how it ended."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev import deploy

TAG = "5f3c0de"
DIGESTS = {
    name: f"ghcr.io/cv-factory/{name}@sha256:{letter * 64}"
    for name, letter in (("operator", "a"), ("server", "b"), ("router", "c"))
}
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


UMBRELLA = """\
mlflow:
  image:
    repository: mlflow
    pullPolicy: Always
cv-factory:
  image:
    repository: operator

    pullSecrets:
      - tag
    tag: old
  serverImage:  # of new revisions
    tag: old
  routerImage:
    tag: old
sidecar:
  tag: stays
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


@pytest.fixture
def digests(tmp_path: Path) -> Path:
    """What CI has recorded of the images that it pushed."""
    path = tmp_path / "digests.json"
    path.write_text(json.dumps(DIGESTS))
    return path


def test_where_ci_has_recorded_digests_each_image_is_deployed_by_its_own(digests: Path):
    text = deploy.render(TAG, digests)
    for image, letter in (("operator", "a"), ("model-server", "b"), ("model-router", "c")):
        assert f"/{image}:{TAG}@sha256:{letter * 64}" in text


def test_an_image_without_a_digest_is_not_deployed_by_the_tag_alone(digests: Path, capsys):
    digests.write_text(json.dumps({"operator": DIGESTS["operator"]}))
    assert deploy.main(["render", "--tag", TAG, "--digests", str(digests)]) == 1
    assert "no digest of router, server" in capsys.readouterr().err


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


def test_a_commit_names_the_digests_where_they_are_known(repository: Path, digests: Path):
    arguments = ["commit", "--tag", TAG, "--repository", str(repository), "--file", "prod.yaml"]
    assert deploy.main([*arguments, "--digests", str(digests)]) == 0
    after = yaml.safe_load(git("show", "main:prod.yaml", at=repository))
    assert after["image"]["tag"] == f"{TAG}@sha256:{'a' * 64}"
    assert after["serverImage"]["tag"] == f"{TAG}@sha256:{'b' * 64}"
    assert after["routerImage"]["tag"] == f"{TAG}@sha256:{'c' * 64}"


def test_the_tags_of_other_images_stay_whatever_the_depth(repository: Path, tmp_path: Path):
    work = tmp_path / "work"
    (work / "prod.yaml").write_text(UMBRELLA)
    git("commit", "--quiet", "--all", "--message", "Another", at=work)
    git("push", "--quiet", str(repository), "main", at=work)
    arguments = ["commit", "--tag", TAG, "--repository", str(repository), "--file", "prod.yaml"]
    assert deploy.main(arguments) == 0
    after = git("show", "main:prod.yaml", at=repository)
    assert after == UMBRELLA.replace("tag: old", f'tag: "{TAG}"')


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


class Programs:
    """kubectl and helm that write down what they are asked, and answer what a test says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def answer(self, name: str, **answers: str) -> None:
        """Shell for each first word of the arguments; what is not named ends well, in silence."""
        cases = "".join(f"{word}) {shell} ;;\n" for word, shell in answers.items())
        path = self._folder / name
        path.write_text(
            f'#!/bin/sh\ncd "{self._folder}"\necho "{name} $*" >> asked\n'
            f'case "$1" in\n{cases}esac\n'
        )
        path.chmod(0o755)

    def asked(self, words: str) -> list[str]:
        """The command lines that begin with these words."""
        path = self._folder / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(words)]

    def text(self, name: str) -> str:
        """A file that the shell of an answer has written."""
        return (self._folder / name).read_text()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return Programs(folder)


def test_the_first_release_is_shown_as_new_without_asking_for_differences(programs: Programs):
    programs.answer("kubectl")
    programs.answer("helm", template="echo kind: Deployment")
    told = deploy.diff(TAG)
    assert told == "new: there is no namespace cv-factory yet\nkind: Deployment\n"
    assert programs.asked("kubectl diff") == []


def test_what_a_release_changes_is_shown_although_the_fields_are_helms(programs: Programs):
    programs.answer(
        "kubectl", get="echo namespace/cv-factory", diff="cat > objects; echo +x; exit 1"
    )
    programs.answer("helm", template="echo kind: Deployment")
    assert deploy.diff(TAG) == "+x\n"
    (command,) = programs.asked("kubectl diff")
    assert "--server-side --force-conflicts" in command
    assert programs.text("objects") == "kind: Deployment\n"
    (command,) = programs.asked("helm template")
    assert f"image.tag={TAG}" in command


def test_differences_that_cannot_be_had_are_no_difference(programs: Programs, capsys):
    programs.answer("kubectl", get="echo it", diff="cat > objects; echo forbidden >&2; exit 2")
    programs.answer("helm")
    assert deploy.main(["diff", "--tag", TAG]) == 1
    assert "forbidden" in capsys.readouterr().err


def test_a_release_is_taken_back_by_helm_where_its_pods_do_not_become_ready(
    programs: Programs, digests: Path, capsys
):
    programs.answer("helm", upgrade="echo not ready >&2; exit 1")
    assert deploy.main(["apply", "--tag", TAG, "--digests", str(digests)]) == 1
    assert "not ready" in capsys.readouterr().err
    (command,) = programs.asked("helm upgrade --install")
    for words in ("--create-namespace", "--atomic", f"image.tag={TAG}@sha256:{'a' * 64}"):
        assert words in command


IMAGE = f"ghcr.io/cv-factory/operator:{TAG}@sha256:{'a' * 64}"
ROLLED_OUT = {"rollout": "echo rolled out", "get": f'[ "$2" = modeldeployments ] || printf {IMAGE}'}


def test_a_release_is_live_when_it_is_rolled_out_and_the_charts_test_passes(programs: Programs):
    programs.answer("kubectl", **ROLLED_OUT)
    programs.answer("helm", test="echo the operator leads")
    told = deploy.status(TAG)
    assert told == "rolled out\nthe operator leads\n"
    assert programs.asked("kubectl rollout status deployment/cv-factory-operator")


def test_another_image_than_the_release_is_a_failure(programs: Programs, capsys):
    programs.answer("kubectl", **ROLLED_OUT)
    programs.answer("helm")
    assert deploy.main(["status", "--tag", "another"]) == 1
    assert f"{IMAGE} runs, and not another" in capsys.readouterr().err


def test_with_gitops_it_waits_for_argocd_and_asks_helm_nothing(programs: Programs):
    arriving = f"""if [ "$2" = modeldeployments ]; then echo none
        elif [ -e synced ]; then printf {IMAGE}
        else touch synced; printf {IMAGE.replace(TAG, "old")}; fi"""
    programs.answer("kubectl", rollout="echo rolled out", get=arriving)
    programs.answer("helm", test="exit 1")
    assert deploy.status(TAG, gitops=True) == "rolled out\nnone\n"
    assert programs.asked("helm") == []


def test_a_commit_that_argocd_never_sees_is_a_failure(programs: Programs, monkeypatch, capsys):
    monkeypatch.setattr(deploy, "SYNC_SECONDS", 0)
    programs.answer("kubectl")  # ArgoCD has made no Deployment at all
    assert deploy.main(["status", "--tag", TAG, "--gitops"]) == 1
    assert f"deployment/cv-factory-operator has the tag {TAG}" in capsys.readouterr().err
    assert programs.asked("kubectl rollout") == []
