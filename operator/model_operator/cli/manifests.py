"""Reads ModelDeployments from a file or standard input, for `deploy`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from model_operator import api
from model_operator.cli.errors import UsageError

Body = dict[str, Any]


def read(filename: str, namespace: str | None, default_namespace: str) -> list[Body]:
    """The ModelDeployments in a file (`-`: standard input), each with its namespace.

    `namespace` is what `-n` says; a document that names another one is refused, as kubectl does.

    Raises:
        UsageError: the file cannot be read, or holds anything but ModelDeployments.

    """
    return parse(_text(filename), filename, namespace, default_namespace)


def parse(text: str, filename: str, namespace: str | None, default_namespace: str) -> list[Body]:
    """The same from the file's text."""
    try:
        documents = [d for d in yaml.safe_load_all(text) if d is not None]
    except yaml.YAMLError as error:
        raise UsageError(f"{filename} is not YAML: {' '.join(str(error).split())}") from error
    bodies = [body for number, d in enumerate(documents, 1) for body in _items(d, number, filename)]
    if not bodies:
        raise UsageError(f"{filename} holds no ModelDeployment")
    for body in bodies:
        _settle_namespace(body["metadata"], filename, namespace, default_namespace)
    names = [(b["metadata"]["namespace"], b["metadata"]["name"]) for b in bodies]
    for scope, name in names:
        if names.count((scope, name)) > 1:
            raise UsageError(f"{filename} has {name} in {scope} twice: leave one of them out")
    return bodies


def _text(filename: str) -> str:
    if filename == "-":
        return sys.stdin.read()
    try:
        return Path(filename).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{filename} cannot be read: {error}") from error


def _items(document: Any, number: int, filename: str) -> Iterator[Body]:
    """The ModelDeployments of one document: itself, or a list's members."""
    where = f"document {number} of {filename}"
    if not isinstance(document, dict):
        raise UsageError(f"{where} is not an object: it should be a ModelDeployment")
    if document.get("apiVersion") == "v1" and document.get("kind") == "List":
        for item in document.get("items") or ():
            yield from _items(item, number, filename)
        return
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind != api.KIND:
        raise UsageError(f"{where} is a {kind}, not a {api.KIND}: use `kubectl apply -f` for it")
    if version != api.API_VERSION:
        raise UsageError(f"{where} has apiVersion {version}: write {api.API_VERSION}")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise UsageError(f"{where} has no metadata.name")
    # What `kubectl get -o yaml` has added is not asked for, and an apply with it is refused.
    unasked = {"managedFields", "uid", "resourceVersion", "generation", "creationTimestamp"}
    kept = {key: value for key, value in metadata.items() if key not in unasked}
    yield {**{k: v for k, v in document.items() if k != "status"}, "metadata": kept}


def _settle_namespace(
    metadata: Body, filename: str, namespace: str | None, default_namespace: str
) -> None:
    written = metadata.get("namespace")
    if written and namespace and written != namespace:
        raise UsageError(
            f"{filename} puts {metadata['name']} into namespace {written}, and -n says {namespace}"
        )
    metadata["namespace"] = written or default_namespace
