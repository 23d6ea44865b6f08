"""Runs a script as ArgoCD does: Lua 5.1 with the base, table and a small os library, and `obj`."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml
from lupa import lua51

from dev import argocd

Body = dict[str, Any]

CONFIG = yaml.safe_load((argocd.FOLDER / "argocd-cm.yaml").read_text())["data"]
HEALTH: str = CONFIG[f"resource.customizations.health.{argocd.KEY}"]
ACTIONS: Body = yaml.safe_load(CONFIG[f"resource.customizations.actions.{argocd.KEY}"])
DISCOVERY: str = ACTIONS["discovery.lua"]
DEFINITIONS: dict[str, str] = {one["name"]: one["action.lua"] for one in ACTIONS["definitions"]}
WITHHELD = (
    "string",
    "io",
    "math",
    "debug",
    "coroutine",
    "require",
    "dofile",
    "loadstring",
    "python",
)
"""What ArgoCD gives no script: https://argo-cd.readthedocs.io, util/lua of its sources."""


def run(script: str, resource: Body) -> Any:
    """What the script returns for the resource; a table as a dict or a list."""
    runtime = lua51.LuaRuntime(register_eval=False)
    variables = runtime.globals()
    for name in WITHHELD:
        variables[name] = None
    variables["os"] = runtime.table_from({"time": lambda: int(time.time())})
    # Methods of strings ("x"):upper() would reach the string library by its metatable.
    forget = "local m = getmetatable(''); if m then m.__index = nil end; getmetatable = nil"
    runtime.execute(forget)
    variables["obj"] = _to_lua(runtime, json.loads(json.dumps(resource)))
    return _from_lua(runtime.execute(script))


def _to_lua(runtime: lua51.LuaRuntime, value: Any) -> Any:
    if isinstance(value, dict):
        return runtime.table_from({k: _to_lua(runtime, v) for k, v in value.items()})
    if isinstance(value, list):
        return runtime.table_from([_to_lua(runtime, one) for one in value])
    return value


def _from_lua(value: Any) -> Any:
    if lua51.lua_type(value) != "table":
        return value
    members = dict(value)
    if members and all(isinstance(key, int) for key in members):
        return [_from_lua(members[index]) for index in sorted(members)]
    return {key: _from_lua(one) for key, one in members.items()}


def health(resource: Body) -> tuple[str, str]:
    """Status and message."""
    found = run(HEALTH, resource)
    return found["status"], found["message"]


def offered(resource: Body) -> set[str]:
    """The actions that are offered."""
    return {name for name, one in run(DISCOVERY, resource).items() if not one["disabled"]}


def acted(verb: str, resource: Body) -> Body:
    """The resource as an action leaves it."""
    found: Body = run(DEFINITIONS[verb], resource)
    return found


def kustomized(folder: Path, kubectl: Path) -> list[Body]:
    """What `kubectl kustomize` makes of a folder."""
    done = subprocess.run(
        [str(kubectl), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "KUBECONFIG": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.safe_load_all(done.stdout) if body]
