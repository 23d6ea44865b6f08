"""What `deploy -f` reads, and what it refuses before anything is asked for."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml

from model_operator.cli import manifests
from model_operator.cli.errors import UsageError
from tests.operator.builders import make_model_deployment


def document(name: str = "cats-dogs", namespace: str | None = None) -> str:
    body = make_model_deployment(name).build()
    body["metadata"] = {"name": name, **({"namespace": namespace} if namespace else {})}
    return yaml.safe_dump(body)


def parse(text: str, namespace: str | None = None) -> list[tuple[str, str]]:
    bodies = manifests.parse(text, "file.yaml", namespace, namespace or "default")
    return [(body["metadata"]["namespace"], body["metadata"]["name"]) for body in bodies]


def test_several_documents_are_read_in_their_order_and_empty_ones_passed_over():
    text = f"---\n{document('dogs')}---\n---\n{document('cats', 'vision')}"
    assert parse(text) == [("default", "dogs"), ("vision", "cats")]


def test_a_list_is_what_is_in_it():
    items = [yaml.safe_load(document("dogs")), yaml.safe_load(document("cats"))]
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items})
    assert parse(text, "vision") == [("vision", "dogs"), ("vision", "cats")]


def test_what_the_api_server_has_added_is_not_asked_for():
    body = make_model_deployment().build() | {"status": {"phase": "Healthy"}}
    body["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    (read,) = manifests.parse(yaml.safe_dump(body), "f", None, "default")
    assert read.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert read["metadata"] == {"name": "cats-dogs", "namespace": "vision"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no ModelDeployment"),
        ("a: [", "is not YAML"),
        ("hello", "document 1 of file.yaml is not an object"),
        ("kind: Deployment\napiVersion: apps/v1", "is a Deployment, not a ModelDeployment"),
        (document() + "---\nkind: Secret", "document 2 of file.yaml is a Secret"),
        ("kind: ModelDeployment\napiVersion: cvfactory.dev/v9", "write cvfactory.dev/v1alpha1"),
        ("kind: ModelDeployment\napiVersion: cvfactory.dev/v1alpha1", "no metadata.name"),
        (document() + "---\n" + document(), "twice"),
    ],
)
def test_what_is_not_a_model_deployment_is_refused_with_its_place(text, words):
    with pytest.raises(UsageError, match=words):
        parse(text)


def test_a_namespace_that_is_not_the_documents_is_refused():
    with pytest.raises(UsageError, match="puts cats-dogs into namespace vision, and -n says audio"):
        parse(document(namespace="vision"), "audio")
    assert parse(document(namespace="vision"), "vision") == [("vision", "cats-dogs")]


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(document("dogs")))
    (body,) = manifests.read("-", None, "default")
    assert body["metadata"]["name"] == "dogs"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"absent\.yaml cannot be read"):
        manifests.read(str(tmp_path / "absent.yaml"), None, "default")
