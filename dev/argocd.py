"""ArgoCD's settings for ModelDeployments: the scripts of `gitops/argocd` as its ConfigMap has them.

`make generate` writes the ConfigMap; tests/gitops run its scripts.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from model_operator import api
from model_operator.actions import Verb

FOLDER = Path(__file__).resolve().parents[1] / "gitops/argocd"
KEY = f"{api.GROUP}_{api.KIND}"


class _Block(str):
    """A text that YAML shows line by line."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes `_Block` as a literal."""


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def _dump(body: dict[str, object]) -> str:
    text: str = yaml.dump(body, Dumper=_Dumper, sort_keys=False, width=1000)
    return text


def script(name: str) -> str:
    """One of the scripts: health, discovery or action."""
    return (FOLDER / f"{name}.lua").read_text()


def action_script(verb: Verb) -> str:
    """The script of one action: the one script for all, told its verb."""
    return f'local verb = "{verb}"\n{script("action")}'


def actions() -> str:
    """What `resource.customizations.actions` holds: YAML within YAML."""
    definitions = [{"name": str(v), "action.lua": _Block(action_script(v))} for v in Verb]
    return _dump({"discovery.lua": _Block(script("discovery")), "definitions": definitions})


def config_map() -> str:
    """The members that are added to the ConfigMap argocd-cm."""
    return _dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "argocd-cm",
                "namespace": "argocd",
                "labels": {
                    "app.kubernetes.io/name": "argocd-cm",
                    "app.kubernetes.io/part-of": "argocd",
                },
            },
            "data": {
                f"resource.customizations.health.{KEY}": _Block(script("health")),
                f"resource.customizations.actions.{KEY}": _Block(actions()),
            },
        }
    )
