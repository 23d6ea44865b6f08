"""The operator's role, exactly as the chart gives it: rendered by helm, for a test cluster."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Any

import yaml

from dev import tools

ROOT = Path(__file__).resolve().parents[2]
RELEASE_NAMESPACE = "cv-factory-system"


@functools.cache
def rendered() -> tuple[dict[str, Any], ...]:
    """The objects of the chart's rbac.yaml, with the chart's own default values."""
    command = [
        *(str(tools.helm()), "template", "cv-factory", str(ROOT / "charts" / "cv-factory")),
        *("--namespace", RELEASE_NAMESPACE, "--show-only", "templates/rbac.yaml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(body for body in yaml.safe_load_all(done.stdout) if body)


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    """The rendered objects of these kinds."""
    return [body for body in rendered() if body["kind"] in kinds]


def account() -> str:
    """The user name that the API server knows the operator's service account by."""
    (body,) = of_kind("ServiceAccount")
    metadata = body["metadata"]
    return f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}"


def manifest() -> str:
    """The service account, its namespace, its roles and their bindings, for `kubectl apply`."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": RELEASE_NAMESPACE},
    }
    return yaml.safe_dump_all([namespace, *rendered()])
