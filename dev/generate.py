"""Writes every generated file, or with `--check` says which are stale.

`make generate` and `make verify` call it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from model_operator import crd

ROOT = Path(__file__).resolve().parents[1]
HEADER = "# Generated from operator/model_operator/api by `make generate`. Do not edit.\n"


class PlainDumper(yaml.SafeDumper):
    """Writes repeated values out instead of referring to the first."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class names it
        """No value is written as a reference."""
        return True


def as_yaml(body: dict[str, Any]) -> str:
    """The body as YAML in the order in which it was built."""
    text: str = yaml.dump(body, Dumper=PlainDumper, sort_keys=False, width=100, allow_unicode=True)
    return text


def chart_copy(definition: dict[str, Any]) -> dict[str, Any]:
    """The chart's CRD: a template, so that it is upgraded; kept when the release is removed."""
    metadata = definition["metadata"] | {"annotations": {"helm.sh/resource-policy": "keep"}}
    return definition | {"metadata": metadata}


def generated() -> dict[Path, str]:
    """All generated files with their contents."""
    definition = crd.custom_resource_definition()
    return {
        ROOT / "crds/modeldeployments.cvfactory.dev.yaml": HEADER + as_yaml(definition),
        ROOT / "charts/cv-factory/templates/crd.yaml": HEADER + as_yaml(chart_copy(definition)),
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
