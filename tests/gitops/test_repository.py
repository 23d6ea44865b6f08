"""The example of a GitOps repository, rendered by kustomize, and ArgoCD's Applications."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import yaml

from dev import tools
from model_operator import sources, validation
from model_operator.api import ModelDeploymentSpec
from tests.gitops.argocd_lua import Body, kustomized

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/gitops"
ENVIRONMENTS = ("dev", "staging", "prod")


@functools.cache
def rendered(environment: str) -> Body:
    (body,) = kustomized(EXAMPLE / environment, tools.kubectl())
    return body


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_is_one_valid_resource_in_a_namespace_of_its_own(environment: str):
    body = rendered(environment)
    assert body["metadata"] == {"name": "cats-dogs", "namespace": f"vision-{environment}"}
    assert validation.refusal(body) is None
    base = yaml.safe_load((EXAMPLE / "base/cats-dogs.yaml").read_text())
    assert body["spec"]["server"] == base["spec"]["server"]


def test_dev_follows_an_alias_and_the_others_name_a_version_and_a_canary():
    specs = {
        name: ModelDeploymentSpec.model_validate(rendered(name)["spec"]) for name in ENVIRONMENTS
    }
    assert specs["dev"].model.update_policy == "FollowAlias"
    for name in ("staging", "prod"):
        model = specs[name].model
        assert sources.is_registered(model.uri)
        assert model.uri.rpartition("/")[2].isdecimal()
        assert model.required_tags == {"validation": "passed"}
        assert specs[name].strategy.type == "Canary"


def applications() -> dict[str, Body]:
    """The specs of all Applications, also those that are made from a template."""
    own = yaml.safe_load((ROOT / "gitops/argocd/operator.yaml").read_text())
    made = yaml.safe_load((EXAMPLE / "argocd/applications.yaml").read_text())
    return {"operator": own["spec"], "models": made["spec"]["template"]["spec"]}


@pytest.mark.parametrize("name", ["operator", "models"])
def test_an_application_syncs_prunes_and_heals_itself_and_ignores_no_difference(name: str):
    spec = applications()[name]
    assert spec["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
    assert "ignoreDifferences" not in spec


def test_the_folders_of_the_application_set_are_there():
    made = yaml.safe_load((EXAMPLE / "argocd/applications.yaml").read_text())
    (generator,) = made["spec"]["generators"]
    named = [element["environment"] for element in generator["list"]["elements"]]
    assert named == list(ENVIRONMENTS)


def test_the_operators_application_installs_this_chart_with_values_that_it_knows():
    source = applications()["operator"]["source"]
    chart = yaml.safe_load((ROOT / source["path"] / "Chart.yaml").read_text())
    assert source["targetRevision"] == f"v{chart['version']}"
    values = yaml.safe_load((ROOT / source["path"] / "values.yaml").read_text())
    for name, members in source["helm"]["valuesObject"].items():
        assert set(members) <= set(values[name])
