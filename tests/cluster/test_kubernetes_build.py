"""What names a build, and which packages its generated code is made from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dev.cluster.kubernetes import RECIPE, Recipe, openapi_packages


def test_the_same_recipe_has_the_same_name():
    assert Recipe().name == RECIPE.name
    assert RECIPE.name.startswith("1.20.2-")


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.20.3"},
        {"programs": ("kubelet",)},
        {"replaced": ()},
        {"environment": (("CGO_ENABLED", "1"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_change_of_the_recipe_is_another_build(change: dict[str, object]):
    assert dataclasses.replace(RECIPE, **change).digest != RECIPE.digest


def test_the_version_is_set_where_a_vendored_package_keeps_it():
    package = "k8s.io/kubernetes/vendor/k8s.io/component-base/version"

    assert f"-X {package}.gitVersion=v1.20.2" in RECIPE.ldflags
    assert f"-X {package}.gitMinor=20" in RECIPE.ldflags


def test_openapi_is_generated_from_marked_packages_only(tmp_path: Path):
    marked = "// +k8s:openapi-gen=true\npackage v1\n"
    for path, text in {
        "pkg/apis/core/doc.go": marked,
        "pkg/apis/plain/doc.go": "package plain\n",
        "pkg/apis/tested/doc_test.go": marked,
        "pkg/apis/made/zz_generated.go": marked,
        "staging/src/k8s.io/api/apps/v1/doc.go": marked,
        "staging/src/k8s.io/sample-apiserver/doc.go": marked,
        "cmd/thing/v1/doc.go": marked,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert sorted(openapi_packages(tmp_path)) == [
        "k8s.io/api/apps/v1",
        "k8s.io/kubernetes/cmd/thing/v1",
        "k8s.io/kubernetes/pkg/apis/core",
    ]
