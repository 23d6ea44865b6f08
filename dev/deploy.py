"""Deploys a release of the operator from a pipeline: by the chart, or by a commit for ArgoCD.

    python3 -m dev.deploy render|diff|apply --tag TAG [--digests digests.json]
    python3 -m dev.deploy commit --tag TAG --repository URL --file values/prod.yaml
    python3 -m dev.deploy status --tag TAG [--gitops]
    python3 -m dev.deploy notify --outcome success

It needs Python alone; helm, kubectl and git are programs. The values besides the images' tags are
in the file that DEPLOY_VALUES names; the digests are those that dev/publish.py has recorded.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dev import tools
from dev.kube import NotInTime, wait_until

ROOT = Path(__file__).resolve().parents[1]
RELEASE = NAMESPACE = "cv-factory"
DEPLOYMENT = f"deployment/{RELEASE}-operator"
IMAGES = {"image": "operator", "serverImage": "server", "routerImage": "router"}
"""The chart's values that name an image, and what dev/publish.py calls it."""
SYNC_SECONDS = 900
"""How long ArgoCD may take to see a commit: it asks every three minutes, unless it is told."""
_DIFFERENT = 1
"""What kubectl diff ends with where there is something to tell."""
_LOGIN = ("-c", "credential.helper=!f() { echo username=token; echo password=$GITOPS_TOKEN; }; f")
"""How git logs in where it is asked to: the token stays in the environment, off command lines."""


class DeployFailed(Exception):
    """A step failed; the words are what a pipeline shows."""


def image_tags(tag: str, digests: Path | None) -> dict[str, str]:
    """What the chart is told of each image: the tag, and the digest that CI has recorded, since a
    tag can be moved.
    """
    if digests is None:
        return dict.fromkeys(IMAGES, tag)
    recorded: dict[str, str] = json.loads(digests.read_text())
    if missing := sorted(set(IMAGES.values()) - set(recorded)):
        raise DeployFailed(f"{digests} has no digest of {', '.join(missing)}")
    return {value: f"{tag}@{recorded[name].partition('@')[2]}" for value, name in IMAGES.items()}


def chart_arguments(tags: Mapping[str, str]) -> list[str]:
    """What helm is told of the release."""
    values = os.environ.get("DEPLOY_VALUES")
    named = ["--values", values] if values else []
    images = [word for name in tags for word in ("--set-string", f"{name}.tag={tags[name]}")]
    return [*(RELEASE, str(ROOT / "charts/cv-factory"), "--namespace", NAMESPACE), *named, *images]


def render(tag: str, digests: Path | None = None) -> str:
    """The objects of the release, for no cluster in particular."""
    return _objects(tag, digests)


def _objects(tag: str, digests: Path | None, *more: str) -> str:
    chart = chart_arguments(image_tags(tag, digests))
    return _run([str(tools.helm()), "template", *chart, "--no-hooks", *more])


def diff(tag: str, digests: Path | None = None) -> str:
    """What would change in the cluster; empty: nothing. The first release is new as a whole."""
    # By the kinds that this cluster knows: --validate in Helm 3, which Helm 4 takes, too.
    objects, kubectl = _objects(tag, digests, "--validate"), str(tools.kubectl())
    if not _run([kubectl, "get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"]):
        return f"new: there is no namespace {NAMESPACE} yet\n{objects}"
    # The fields are helm's, which is a conflict for everybody else. Nothing is written here.
    options = ("--server-side", "--force-conflicts", "--namespace", NAMESPACE)
    return _run([kubectl, "diff", *options, "-f", "-"], stdin=objects, ends=(0, _DIFFERENT))


def apply(tag: str, digests: Path | None = None) -> str:
    """Installs or upgrades, and waits until the pods are ready; goes back where they are not."""
    chart = chart_arguments(image_tags(tag, digests))
    command = [str(tools.helm()), "upgrade", "--install", *chart]
    return _run([*command, "--create-namespace", "--atomic", "--timeout", "10m"])


def status(tag: str, *, gitops: bool = False) -> str:
    """Waits for the rollout, asks the operator whether it works, and shows what it serves.

    ArgoCD's releases are none of helm's: there it waits until the tag has arrived, and asks for
    the rollout alone.
    """
    if gitops:
        wait_until(lambda: _tag(_image()) == tag, f"{DEPLOYMENT} has the tag {tag}", SYNC_SECONDS)
    told = _kubectl("rollout", "status", DEPLOYMENT, "--timeout=5m")
    if not gitops:
        trying = ["test", RELEASE, "--namespace", NAMESPACE, "--timeout", "3m", "--logs"]
        told += _run([str(tools.helm()), *trying])
    if _tag(image := _image()) != tag:
        raise DeployFailed(f"{image} runs, and not {tag}")
    return told + _kubectl("get", "modeldeployments", "--all-namespaces")


def _image() -> str:
    """The operator's image as the cluster has it; empty where there is no operator."""
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    return _kubectl("get", DEPLOYMENT, "--ignore-not-found", "-o", path)


def _tag(image: str) -> str:
    """The tag of REPOSITORY:TAG, and of REPOSITORY:TAG@DIGEST."""
    return image.partition("@")[0].rpartition(":")[2]


def commit(tag: str, repository: str, file: str, branch: str, digests: Path | None = None) -> str:
    """Writes the tags into a values file of a GitOps repository and pushes it."""
    with tempfile.TemporaryDirectory() as folder:
        clone = ["clone", "--quiet", "--depth=1", "--branch", branch]
        _run(["git", *_LOGIN, *clone, repository, folder])
        path = Path(folder) / file
        before = path.read_text()
        after = before
        for image, wanted in image_tags(tag, digests).items():
            after, count = _tag_line(image).subn(rf'\1 "{wanted}"', after)
            if not count:
                raise DeployFailed(f"{file} has no line `tag:` below `{image}:`")
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


def _tag_line(image: str) -> re.Pattern[str]:
    """The line `tag:` of an image in a values file, at any depth; group 1 is all before the tag."""
    opening = rf"(?P<indent>[ \t]*){image}:[ \t]*(?:#.*)?\n"
    between = r"(?:(?P=indent)[ \t]+.*\n|[ \t]*\n)*?"
    return re.compile(rf"^({opening}{between}(?P=indent)[ \t]+tag:).*$", re.MULTILINE)


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


def _kubectl(*arguments: str) -> str:
    return _run([str(tools.kubectl()), *arguments, "--namespace", NAMESPACE])


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
    for name in ("render", "diff", "apply", "commit", "status"):
        steps.add_parser(name).add_argument("--tag", required=True)
        if name != "status":
            steps.choices[name].add_argument("--digests", type=Path)
    steps.choices["status"].add_argument("--gitops", action="store_true")
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
    except (DeployFailed, NotInTime, tools.ToolMissing, OSError) as problem:
        sys.stderr.write(f"deploy: {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
