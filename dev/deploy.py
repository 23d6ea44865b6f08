"""Deploys a release of the operator from a pipeline: by the chart, or by a commit for ArgoCD.

    python3 -m dev.deploy render|diff|apply|status --tag TAG
    python3 -m dev.deploy commit --tag TAG --repository URL --file values/prod.yaml
    python3 -m dev.deploy notify --outcome success

It needs Python alone; helm, kubectl and git are programs. The values besides the tag are in the
file that DEPLOY_VALUES names.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from dev import tools

ROOT = Path(__file__).resolve().parents[1]
RELEASE = NAMESPACE = "cv-factory"
IMAGES = ("image", "serverImage", "routerImage")
_DIFFERENT = 1
"""What kubectl diff ends with where there is something to tell."""
_LOGIN = ("-c", "credential.helper=!f() { echo username=token; echo password=$GITOPS_TOKEN; }; f")
"""How git logs in where it is asked to: the token stays in the environment, off command lines."""
_TAG_LINE = re.compile(r"^([ \t]+tag:).*$", re.MULTILINE)


class DeployFailed(Exception):
    """A step failed; the words are what a pipeline shows."""


def chart_arguments(tag: str) -> list[str]:
    """What helm is told of the release."""
    values = os.environ.get("DEPLOY_VALUES")
    named = ["--values", values] if values else []
    tags = [word for image in IMAGES for word in ("--set-string", f"{image}.tag={tag}")]
    return [*(RELEASE, str(ROOT / "charts/cv-factory"), "--namespace", NAMESPACE), *named, *tags]


def render(tag: str) -> str:
    """The objects of the release."""
    return _run([str(tools.helm()), "template", *chart_arguments(tag), "--no-hooks"])


def diff(tag: str) -> str:
    """What would change in the cluster; empty: nothing."""
    command = [str(tools.kubectl()), "diff", "--server-side", "--namespace", NAMESPACE, "-f", "-"]
    return _run(command, stdin=render(tag), ends=(0, _DIFFERENT))


def apply(tag: str) -> str:
    """Installs or upgrades, and waits until the pods are ready; goes back where they are not."""
    command = [str(tools.helm()), "upgrade", "--install", *chart_arguments(tag)]
    return _run([*command, "--create-namespace", "--atomic", "--timeout", "10m"])


def status(tag: str) -> str:
    """Waits for the rollout, asks the operator whether it works, and shows what it serves."""
    kubectl, deployment = str(tools.kubectl()), f"deployment/{RELEASE}-operator"
    told = _run([kubectl, "-n", NAMESPACE, "rollout", "status", deployment, "--timeout=5m"])
    trying = ["test", RELEASE, "--namespace", NAMESPACE, "--timeout", "3m", "--logs"]
    told += _run([str(tools.helm()), *trying])
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    runs = _run([kubectl, "-n", NAMESPACE, "get", deployment, "-o", image])
    if not runs.endswith(f":{tag}"):
        raise DeployFailed(f"{runs} runs, and not {tag}")
    return told + _run([kubectl, "get", "modeldeployments", "--all-namespaces"])


def commit(tag: str, repository: str, file: str, branch: str) -> str:
    """Writes the tag into a values file of a GitOps repository and pushes it."""
    with tempfile.TemporaryDirectory() as folder:
        clone = ["clone", "--quiet", "--depth=1", "--branch", branch]
        _run(["git", *_LOGIN, *clone, repository, folder])
        path = Path(folder) / file
        before = path.read_text()
        after, count = _TAG_LINE.subn(rf'\1 "{tag}"', before)
        if not count:
            raise DeployFailed(f"{file} has no line `tag:`")
        if after == before:
            return f"{file} names {tag} already\n"
        path.write_text(after)
        git = [
            "git",
            "-C",
            folder,
            *_LOGIN,
            "-c",
            "user.name=cv-factory",
            "-c",
            "user.email=cd@localhost",
        ]
        _run([*git, "commit", "--quiet", "--all", "--message", f"Deploy {tag}"])
        _run([*git, "push", "--quiet", "origin", f"HEAD:{branch}"])
    return f"{file} names {tag} now\n"


def notify(outcome: str) -> str:
    """Tells a webhook how it ended, where NOTIFY_URL names one; the link is the pipeline's."""
    text = f"CV Factory: deployment {outcome}"
    if link := os.environ.get("RUN_URL"):
        text += f": {link}"
    if not (url := os.environ.get("NOTIFY_URL")):
        return f"{text} (nobody is told: NOTIFY_URL is not set)\n"
    if not url.startswith(("https://", "http://127.0.0.1:")):
        raise DeployFailed("NOTIFY_URL must begin with https://")
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return f"{text} (told: {answer.status})\n"


def _run(command: Sequence[str], stdin: str | None = None, ends: Sequence[int] = (0,)) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode not in ends:
        name = " ".join(Path(word).name for word in command[:3])
        raise DeployFailed(f"{name}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """Runs one step and prints what it tells; 1 and a sentence where it failed."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.deploy", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("render", "diff", "apply", "status", "commit"):
        steps.add_parser(name).add_argument("--tag", required=True)
    committing = steps.choices["commit"]
    committing.add_argument("--repository", required=True)
    committing.add_argument("--file", required=True)
    committing.add_argument("--branch", default="main")
    telling = steps.add_parser("notify")
    telling.add_argument("--outcome", required=True)
    chosen = vars(parser.parse_args(arguments))
    known: dict[str, Callable[..., str]] = {
        "render": render,
        "diff": diff,
        "apply": apply,
        "status": status,
        "commit": commit,
        "notify": notify,
    }
    step = known[chosen.pop("step")]
    try:
        sys.stdout.write(step(**chosen))
    except (DeployFailed, tools.ToolMissing, OSError) as problem:
        sys.stderr.write(f"deploy: {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
