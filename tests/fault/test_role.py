"""The chart's role: exactly what the operator needs, and nothing that nobody may give away."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fault import role

pytestmark = pytest.mark.fault


def rules() -> list[dict[str, Any]]:
    return [
        rule for body in role.of_kind("ClusterRole", "Role") for rule in body.get("rules") or ()
    ]


def test_the_role_has_no_wildcard():
    words = [
        word for rule in rules() for part in rule.values() for word in part if isinstance(word, str)
    ]
    assert words
    assert not [word for word in words if "*" in word]


def test_the_role_reads_no_secret_and_grants_no_rights():
    for rule in rules():
        assert not {"secrets", "clusterroles", "roles", "serviceaccounts/token"} & {
            *rule["resources"]
        }
        assert not {"escalate", "bind", "impersonate"} & {*rule["verbs"]}


def test_the_role_never_writes_the_resource_itself():
    for rule in rules():
        if "modeldeployments" in rule["resources"]:
            assert {*rule["verbs"]} <= {"get", "list", "watch"}


USED = {
    "modeldeployments": {"get", "list", "watch"},
    "modeldeployments/status": {"update"},
    "modeldeployments/finalizers": {"update"},
    "deployments": {"get", "list", "watch", "create", "patch", "delete"},
    "controllerrevisions": {"get", "list", "watch", "create", "patch", "delete"},
    "deployments/scale": {"patch"},
    "services": {"get", "list", "watch", "create", "patch", "delete"},
    "configmaps": {"get", "list", "watch", "create", "patch", "delete"},
    "jobs": {"get", "list", "watch", "create", "patch", "delete"},
    "poddisruptionbudgets": {"get", "list", "watch", "create", "patch", "delete"},
    "horizontalpodautoscalers": {"get", "create", "patch", "delete"},
    "httproutes": {"get", "list", "watch", "create", "patch", "delete"},
    "pods": {"list", "watch", "patch"},
    "endpoints": {"get", "list", "watch"},
    "events": {"create", "list"},
    "leases": {"get", "create", "patch"},
}
"""What the operator's calls need. `finalizers` is asked for by clusters that protect owners."""


def test_the_role_allows_what_the_operator_does_and_not_a_verb_more():
    allowed: dict[str, set[str]] = {}
    for rule in rules():
        for resource in rule["resources"]:
            allowed.setdefault(resource, set()).update(rule["verbs"])
    assert allowed == USED
