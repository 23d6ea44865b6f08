"""What the demo and the end-to-end tests run kubectl with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from dev.kube import CommandFailed, Kube, NotInTime, wait_until


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    with ControlPlane() as plane:
        yield Kube(plane.kubeconfig)


def test_a_command_that_fails_is_told_in_its_own_words_without_the_path_of_the_program(
    tmp_path: Path,
):
    kube = Kube(tmp_path / "no-such-kubeconfig")
    with pytest.raises(CommandFailed, match=r"^kubectl get pods \.\.\.: .*no-such-kubeconfig"):
        kube.kubectl("get", "pods")


def test_a_condition_is_asked_again_until_it_holds():
    answers = [True, False, False]
    wait_until(answers.pop, "it holds", 30)
    assert answers == []


def test_a_condition_that_does_not_come_true_is_named_with_its_deadline():
    with pytest.raises(NotInTime, match=r"^not within 0 s: the pod is ready$"):
        wait_until(lambda: False, "the pod is ready", 0)


@pytest.mark.api
def test_a_body_or_a_text_is_applied_and_read_back(kube: Kube):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    assert "configmap/c created" in kube.apply(body)
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '2'}\n"
    assert "configmap/c configured" in kube.apply(text)
    assert kube.get("configmap", "c")["data"] == {"a": "2"}
    assert [item["metadata"]["name"] for item in kube.get("configmap")["items"]] == ["c"]


@pytest.mark.api
def test_what_cannot_be_forwarded_to_is_told_in_kubectls_words(kube: Kube):
    with (
        pytest.raises(CommandFailed, match=r'port-forward service/nobody: .*"nobody" not found'),
        kube.port_forward("default", "service/nobody", 80),
    ):
        pass
