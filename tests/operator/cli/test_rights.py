"""Who may `view` and who may `edit` a namespace may use the command line, by the chart's roles."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dev import tools
from tests.fault import role
from tests.operator.conftest import Kubectl
from tests.operator.reconciling import eventually

pytestmark = pytest.mark.api

TEMPLATE = "templates/user-roles.yaml"


def rendered(repository: Path, *values: str) -> subprocess.CompletedProcess[str]:
    chart = str(repository / "charts/cv-factory")
    command = [str(tools.helm()), "template", "cv-factory", chart]
    scope = ("--namespace", role.RELEASE_NAMESPACE, "--show-only", TEMPLATE)
    settings = [word for value in values for word in ("--set", value)]
    return subprocess.run(
        [*command, *scope, *settings], capture_output=True, text=True, timeout=60, check=False
    )


async def test_editors_may_release_and_viewers_may_look(
    kubectl: Kubectl, namespace: str, repository: Path
):
    kubectl("apply", "-f", "-", stdin=rendered(repository).stdout)
    for name in ("view", "edit"):
        kubectl("create", "serviceaccount", name, "-n", namespace)
        account = f"--serviceaccount={namespace}:{name}"
        kubectl("create", "rolebinding", name, f"--clusterrole={name}", account, "-n", namespace)

    def may(name: str, verb: str, resource: str, part: str = "") -> bool:
        user = f"--as=system:serviceaccount:{namespace}:{name}"
        words = ("auth", "can-i", verb, resource, f"--subresource={part}", "-n", namespace, user)
        return kubectl(*words, check=False).stdout.strip() == "yes"

    async def roles_are_added() -> bool:
        return may("edit", "patch", "modeldeployments.cvfactory.dev")

    await eventually(roles_are_added, "the roles of the chart are added to edit")
    model = "modeldeployments.cvfactory.dev"
    for resource in (model, "controllerrevisions.apps", "pods"):
        assert may("view", "list", resource), resource
        assert may("edit", "list", resource), resource
    assert may("edit", "create", model)
    assert may("edit", "create", "services", "proxy")
    for verb in ("create", "patch", "delete"):
        assert not may("view", verb, model), verb
    assert not may("edit", "update", model, "status"), "status is the operator's alone"


def test_the_roles_are_left_out_where_they_are_not_wanted(repository: Path):
    done = rendered(repository, "aggregateRoles=false")
    assert "could not find template" in done.stderr, done.stdout
