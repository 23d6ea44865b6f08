"""The example of a GitOps repository, rendered by kustomize, and ArgoCD's Applications."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dev import deploy, tools
from model_operator import sources, validation
from model_operator.api import ModelDeploymentSpec
from tests.chart.rendering import of_kind, template
from tests.gitops.argocd_lua import Body, kustomized

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/gitops"
ENVIRONMENTS = ("dev", "staging", "prod")
IMAGES = ("image", "serverImage", "routerImage")
TAG = "5f3c0de"


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
    made = {
        name: application_set(name)["template"]["spec"] for name in ("operator", "applications")
    }
    return {"operator": own["spec"], "operators": made["operator"], "models": made["applications"]}


def application_set(name: str) -> Body:
    """The spec of one of the example's."""
    spec: Body = yaml.safe_load((EXAMPLE / f"argocd/{name}.yaml").read_text())["spec"]
    return spec


def elements(name: str) -> list[dict[str, str]]:
    """What an ApplicationSet makes an Application of."""
    (generator,) = application_set(name)["generators"]
    found: list[dict[str, str]] = generator["list"]["elements"]
    return found


@pytest.mark.parametrize("name", ["operator", "operators", "models"])
def test_an_application_syncs_prunes_and_heals_itself_and_ignores_no_difference(name: str):
    spec = applications()[name]
    assert spec["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
    assert "ignoreDifferences" not in spec


def test_the_folders_of_the_application_set_are_there():
    assert [element["environment"] for element in elements("applications")] == list(ENVIRONMENTS)


def test_models_and_their_operator_are_in_the_same_cluster():
    of_models, of_operators = (
        {element["environment"]: element["server"] for element in elements(name)}
        for name in ("applications", "operator")
    )
    assert of_models == of_operators


def test_the_operators_of_all_environments_are_this_chart_with_values_of_the_repository():
    chart, values = applications()["operators"]["sources"]
    assert (ROOT / chart["path"] / "Chart.yaml").exists()
    assert values["repoURL"] == applications()["models"]["source"]["repoURL"]
    assert values["ref"] == "values"
    (path,) = chart["helm"]["valueFiles"]
    version = yaml.safe_load((ROOT / chart["path"] / "Chart.yaml").read_text())["version"]
    for element in elements("operator"):
        assert element["chart"] == f"v{version}"
        named = path.replace("{{.environment}}", element["environment"])
        assert (EXAMPLE / named.removeprefix("$values/")).exists()


def values_of(environment: str) -> Body:
    """What the operator's chart is told in an environment."""
    text = (EXAMPLE / f"operator/values-{environment}.yaml").read_text()
    values: Body = yaml.safe_load(text)
    return values


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_chart_takes_the_values_and_rollouts_are_recorded_under_the_environments_name(
    environment: str,
):
    done = template(values_of(environment))
    assert done.returncode == 0, done.stderr
    (deployment,) = of_kind(tuple(filter(None, yaml.safe_load_all(done.stdout))), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert told["CV_FACTORY_CLUSTER_NAME"] == environment


@pytest.fixture
def pushed_to(tmp_path: Path) -> Path:
    """The example as a repository of somebody's own."""
    work, bare = tmp_path / "work", tmp_path / "models.git"
    shutil.copytree(EXAMPLE, work)
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for command in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "."),
        (*identity, "commit", "--quiet", "--message", "Begin"),
        ("clone", "--quiet", "--bare", ".", str(bare)),
    ):
        subprocess.run(["git", "-C", str(work), *command], check=True)
    return bare


def test_a_pipeline_releases_the_operator_by_a_commit_that_changes_the_tags_of_one_environment(
    pushed_to: Path,
):
    deploy.commit(TAG, str(pushed_to), "operator/values-prod.yaml", "main")
    show = ["git", "-C", str(pushed_to), "show", "--format=", "--name-only", "main"]
    changed = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    assert changed.split() == ["operator/values-prod.yaml"]
    show = ["git", "-C", str(pushed_to), "show", "main:operator/values-prod.yaml"]
    after = yaml.safe_load(subprocess.run(show, check=True, capture_output=True, text=True).stdout)
    assert after == values_of("prod") | {name: {"tag": TAG} for name in IMAGES}
    done = template(after)
    assert done.returncode == 0, done.stderr
    for image in ("operator", "model-server", "model-router"):
        assert f'ghcr.io/cv-factory/{image}:{TAG}"' in done.stdout


def test_the_operators_application_installs_this_chart_with_values_that_it_knows():
    source = applications()["operator"]["source"]
    chart = yaml.safe_load((ROOT / source["path"] / "Chart.yaml").read_text())
    assert source["targetRevision"] == f"v{chart['version']}"
    values = yaml.safe_load((ROOT / source["path"] / "values.yaml").read_text())
    for name, members in source["helm"]["valuesObject"].items():
        assert set(members) <= set(values[name])
