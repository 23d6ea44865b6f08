"""The commands against a real API server, with an operator that reconciles beside them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from dev.cluster.controlplane import ControlPlane
from model_operator.cli import deploy
from model_operator.errors import Conflict
from model_operator.reconcile import Reconciler
from tests.fault import role
from tests.fault.admin import Admin
from tests.fault.proxy import Proxy
from tests.operator.builders import crashed
from tests.operator.cli.command import Done, kubectl_md
from tests.operator.conftest import Kubectl
from tests.operator.pod_player import PodPlayer
from tests.operator.reconciling import eventually, manifest

pytestmark = pytest.mark.api

Md = Callable[..., Awaitable[Done]]


@pytest.fixture
def md(control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Md:
    """`kubectl md` with the test's kubeconfig and namespace."""
    monkeypatch.setattr(deploy, "POLL_SECONDS", 0.05)
    where = ("--kubeconfig", str(control_plane.kubeconfig), "-n", namespace)

    async def run(*arguments: str) -> Done:
        return await kubectl_md(*where, *arguments)

    return run


@pytest.fixture
def logs_apart() -> Iterator[None]:
    """The operator is in this process: its lines must not stand in what a command prints."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    yield
    structlog.reset_defaults()


@pytest.fixture
async def operating(
    logs_apart: None, reconciler: Reconciler, namespace: str, pod_player: PodPlayer
) -> AsyncIterator[PodPlayer]:
    """An operator at work on cats-dogs, and the kubelet's part."""

    async def work() -> None:
        while True:
            with contextlib.suppress(Conflict):
                await reconciler.reconcile(namespace, "cats-dogs")
            await asyncio.sleep(0.1)

    task = asyncio.create_task(work())
    yield pod_player
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def write(tmp_path: Path, namespace: str) -> Callable[..., str]:
    """Writes a manifest; its path."""

    def written(version: int = 1, **spec: Any) -> str:
        body = manifest(namespace, model={"uri": f"models:/cats-dogs/{version}"}, **spec)
        del body["metadata"]["namespace"]
        path = tmp_path / "cats-dogs.yaml"
        path.write_text(yaml.safe_dump(body))
        return str(path)

    return written


async def test_deploy_waits_for_its_own_generation_and_ends_with_one_line_of_json(
    md: Md, write, operating: PodPlayer, namespace: str
):
    first = await md("deploy", "-f", write(), "--wait", "--timeout", "60s")
    assert first.status == 0, first
    assert first.last["outcome"] == "ready"
    assert (first.last["version"], first.last["generation"]) == ("1", 1)
    assert first.last["endpoint"] == f"http://cats-dogs.{namespace}.svc"
    assert "Starting" in first.err or "starting" in first.err
    again = await md("deploy", "-f", write(), "--wait", "--timeout", "60s")
    assert again.last["generation"] == 1, "nothing differs, so nothing is applied anew"
    shown = await md("status", "cats-dogs")
    assert "version 1" in shown.out
    assert shown.out.count("- pod cats-dogs-") == 2
    history = (await md("history", "cats-dogs", "--json")).last
    assert [entry["role"] for entry in history["revisions"]] == ["stable"]


async def test_a_release_that_fails_ends_with_1_and_the_containers_own_words(
    md: Md, write, operating: PodPlayer
):
    before = await md("deploy", "-f", write(), "--wait", "--timeout", "60s")
    words = "models:/cats-dogs/2 has sha256 aaa, expected bbb"
    operating.state_of = lambda pod: (
        {**crashed(3, words, name="fetch"), "ready": False, "restartCount": 1, "imageID": ""}
        if any("models:/cats-dogs/2" in c["command"] for c in pod["spec"]["initContainers"])
        else None
    )
    failed = await md("deploy", "-f", write(2), "--wait", "--timeout", "60s")
    assert failed.status == 1, failed
    assert failed.last["outcome"] == "failed"
    assert failed.last["reason"] == "ModelRefused"
    assert words in failed.last["message"]
    assert failed.last["version"] == "2"
    assert failed.last["revision"] != before.last["revision"]
    shown = await md("status")
    assert "Stalled=True ModelRefused" in shown.out
    refused = await md("rollback", "cats-dogs")
    assert refused.status == 1
    assert f"revision {before.last['revision']} serves already" in refused.err


async def test_the_verbs_print_what_the_operator_answered_and_end_with_1_where_it_refused(
    md: Md, write, operating: PodPlayer
):
    await md("deploy", "-f", write(), "--wait", "--timeout", "60s")
    paused = await md("pause", "cats-dogs")
    assert paused.status == 0, paused
    assert paused.out.splitlines()[-1] == "paused until resumed, or until the spec changes"
    resumed = await md("resume", "cats-dogs")
    assert (resumed.status, resumed.out.splitlines()[-1]) == (0, "resumed")
    nothing = await md("abort", "cats-dogs")
    assert nothing.status == 1
    assert "abort was refused: nothing to abort" in nothing.err


async def test_a_rollback_goes_to_the_revision_before_and_warns_of_gitops(
    md: Md, write, operating: PodPlayer
):
    first = await md("deploy", "-f", write(), "--wait", "--timeout", "60s")
    assert (await md("deploy", "-f", write(2))).status == 0

    async def second_serves() -> bool:
        history = (await md("history", "cats-dogs", "--json")).last
        return [entry["role"] for entry in history["revisions"]] == ["", "stable"]

    await eventually(second_serves, "the requests have moved to version 2")
    back = await md("rollback", "cats-dogs")
    assert back.status == 0, back
    assert f"going back to revision {first.last['revision']}" in back.out
    assert "unless they are set back in git too" in back.err
    absent = await md("rollback", "cats-dogs", "--to", "7")
    assert absent.status == 2
    assert "no revision of version 7 is kept" in absent.err


async def test_without_an_operator_the_wait_ends_with_3_and_says_what_it_waited_for(md: Md, write):
    done = await md("deploy", "-f", write(), "--wait", "--timeout", "0.3s")
    assert done.status == 3
    assert done.last["outcome"] == "timeout"
    assert "the operator has not looked at it yet" in done.last["message"]
    asked = await md("abort", "cats-dogs", "--timeout", "0.5s")
    assert asked.status == 3
    assert "the operator has not looked at it" in asked.err


async def test_a_release_that_somebody_replaces_is_not_waited_for_any_longer(
    md: Md, write, kubectl: Kubectl, namespace: str
):
    waiting = asyncio.create_task(md("deploy", "-f", write(), "--wait", "--timeout", "60s"))
    patch = ("patch", "md", "cats-dogs", "--type=merge", "-p", '{"spec": {"replicas": 4}}')

    async def is_patched() -> bool:
        done = await asyncio.to_thread(kubectl, *patch, "-n", namespace, check=False)
        return done.returncode == 0

    await eventually(is_patched, "somebody has changed the spec")
    done = await waiting
    assert done.status == 1
    assert done.last["reason"] == "Superseded"


async def test_a_dry_run_changes_nothing_and_says_what_differs(
    md: Md, write, kubectl: Kubectl, namespace: str
):
    new = await md("deploy", "-f", write(), "--dry-run")
    assert new.status == 0, new
    assert "would create" in new.out
    assert (await md("status")).status == 1, "something was made"
    await md("deploy", "-f", write())
    same = await md("deploy", "-f", write(), "--dry-run", "--json")
    assert same.last["verb"] == "nothing"
    shown = await md("deploy", "-f", write(2), "--dry-run")
    assert "spec.model.uri: models:/cats-dogs/1 -> models:/cats-dogs/2" in shown.out
    uri = ("get", "md", "cats-dogs", "-n", namespace, "-o", "jsonpath={.spec.model.uri}")
    assert kubectl(*uri).stdout == "models:/cats-dogs/1"


async def test_nothing_is_applied_where_one_of_several_documents_is_refused(
    md: Md, tmp_path: Path, namespace: str
):
    good, bad = manifest(namespace), manifest(namespace, nonsense=1)
    bad["metadata"]["name"] = "dogs"
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump_all([good, bad]))
    done = await md("deploy", "-f", str(path), "--wait")
    assert done.status == 1
    assert done.last["outcome"] == "refused"
    assert done.last["name"] == "dogs"
    assert "nonsense" in done.err
    assert (await md("status", "cats-dogs")).status == 1


async def test_a_field_that_another_tool_has_set_is_a_conflict_until_it_is_forced(
    md: Md, write, kubectl: Kubectl, namespace: str
):
    kubectl("apply", "--server-side", "-f", "-", stdin=manifest(namespace))
    done = await md("deploy", "-f", write(replicas=3))
    assert done.status == 1
    assert "conflict" in done.err
    assert "--force-conflicts" in done.err
    forced = await md("deploy", "-f", write(replicas=3), "--force-conflicts", "--json")
    assert forced.status == 0
    assert forced.last["outcome"] == "applied"


async def test_who_is_not_allowed_to_is_told_which_right_is_missing(
    md: Md, write, admin: Admin, tmp_path: Path, namespace: str
):
    await md("deploy", "-f", write())
    async with Proxy(admin, role.account()) as proxy:  # the operator may not write a spec either
        proxy.write_kubeconfig(tmp_path / "kubeconfig")
        where = ("--kubeconfig", str(tmp_path / "kubeconfig"), "-n", namespace)
        done = await kubectl_md(*where, "abort", "cats-dogs")
    assert done.status == 1
    assert "you are not allowed to do this" in done.err
    assert 'cannot patch resource "modeldeployments"' in done.err
