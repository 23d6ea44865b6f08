"""Writes every generated file, or with `--check` says which are stale.

`make generate` and `make verify` call it.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

import yaml

from dev import argocd, reference, resource_reference
from dev.dashboards import pages
from model_operator import crd

ROOT = Path(__file__).resolve().parents[1]
ORIGIN = "Generated from operator/model_operator/api and rules by `make generate`. Do not edit."
FROM_CODE = "Generated from the code by `make generate`. Do not edit."
HEADER = f"# {ORIGIN}\n"
ARGOCD_HEADER = """\
# Generated from gitops/argocd/*.lua by `make generate`. Do not edit.
# kubectl -n argocd patch configmap argocd-cm --patch-file gitops/argocd/argocd-cm.yaml
"""


class PlainDumper(yaml.SafeDumper):
    """Writes repeated values out instead of referring to the first."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class names it
        """No value is written as a reference."""
        return True


def as_yaml(body: dict[str, Any]) -> str:
    """The body as YAML in the order in which it was built."""
    text: str = yaml.dump(body, Dumper=PlainDumper, sort_keys=False, width=100, allow_unicode=True)
    return text


KEPT = {"helm.sh/resource-policy": "keep", "argocd.argoproj.io/sync-options": "Prune=false"}
"""For Helm, and for ArgoCD, which heeds Helm's word when an Application goes, but not to prune."""


def chart_copy(definition: dict[str, Any]) -> dict[str, Any]:
    """The chart's CRD: a template, so that it is upgraded; kept when the release is removed."""
    return definition | {"metadata": definition["metadata"] | {"annotations": KEPT}}


def helm_literal(text: str) -> str:
    """A template that renders to the text, whatever braces are in it.

    >>> helm_literal("{{name}} is filled in")
    '{{ "{{" }}name}} is filled in'
    """
    return text.replace("{{", '{{ "{{" }}')


def helm_choice(condition: str, then: str, otherwise: str) -> str:
    r"""A template that renders to one text or the other, with their common lines written once.

    >>> print(helm_choice(".x", "a\nb\n", "a\nc\n"), end="")
    a
    {{- if .x }}
    b
    {{- else }}
    c
    {{- end }}
    """
    first, second = then.splitlines(keepends=True), otherwise.splitlines(keepends=True)
    lines: list[str] = []
    matcher = difflib.SequenceMatcher(a=first, b=second, autojunk=False)
    for change, start, end, other_start, other_end in matcher.get_opcodes():
        if change == "equal":
            lines += first[start:end]
        elif start == end:
            lines += [f"{{{{- if not ({condition}) }}}}\n", *second[other_start:other_end], END]
        else:
            lines += [f"{{{{- if {condition} }}}}\n", *first[start:end]]
            if other_start != other_end:
                lines += ["{{- else }}\n", *second[other_start:other_end]]
            lines.append(END)
    return "".join(lines)


END = "{{- end }}\n"
KNOWS_CEL = 'semverCompare ">=1.25-0" .Capabilities.KubeVersion.Version'


def chart_template() -> str:
    """The chart's CRD for every API server: rules in CEL where it knows them."""
    definition = helm_choice(
        KNOWS_CEL,
        helm_literal(as_yaml(chart_copy(crd.custom_resource_definition(cel=True)))),
        helm_literal(as_yaml(chart_copy(crd.custom_resource_definition(cel=False)))),
    )
    return f"{{{{- if .Values.crd.install }}}}\n{definition}{END}"


def generated() -> dict[Path, str]:
    """All generated files with their contents."""
    return {
        ROOT / "crds/modeldeployments.cvfactory.dev.yaml": HEADER
        + as_yaml(crd.custom_resource_definition(cel=True)),
        ROOT / "charts/cv-factory/templates/crd.yaml": HEADER + chart_template(),
        ROOT / "gitops/argocd/argocd-cm.yaml": ARGOCD_HEADER + argocd.config_map(),
        ROOT / "docs/resource.md": f"<!-- {ORIGIN} -->\n\n{resource_reference.reference()}",
        **{ROOT / path: text for path, text in pages.files().items()},
        **{
            ROOT / path: f"<!-- {FROM_CODE} -->\n\n{text}"
            for path, text in reference.files().items()
        },
    }


def main() -> int:
    """Writes or checks; exit status 1 when a file is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which files are stale")
    check = parser.parse_args().check
    stale = [
        path for path, text in generated().items() if not path.exists() or path.read_text() != text
    ]
    for path in stale:
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated()[path])
    if stale and check:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        print(f"stale: {names}; run `make generate`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
