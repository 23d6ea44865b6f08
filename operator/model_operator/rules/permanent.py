"""The rules that stay: what no release will take."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from model_operator import api
from model_operator.api import durations
from model_operator.rules.rule import Rule, full_match, looks_like


def _distinct(values: Iterable[Any]) -> bool:
    return all(count == 1 for count in Counter(values).values())


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(f"'{text}'" for text in sorted(texts))


def _only_with(path: str, member: str, field_name: str, value: str) -> Rule:
    """Settings of one choice are refused beside another: nothing is ignored."""
    return Rule(
        path,
        f"!has(self.{member}) || self.{field_name} == '{value}'",
        f"{member} belongs to {field_name} {value}: leave it out, or set {field_name}: {value}",
        lambda node: member not in node or node[field_name] == value,
    )


def _needs(path: str, member: str, field_name: str, value: str) -> Rule:
    """A choice that says nothing without its settings."""
    return Rule(
        path,
        f"self.{field_name} != '{value}' || has(self.{member})",
        f"{field_name} {value} needs {member}",
        lambda node: node[field_name] != value or member in node,
    )


NAME_PATTERN = f"^[a-z]([-a-z0-9]{{0,{api.NAME_MAX_LENGTH - 2}}}[a-z0-9])?$"
VERSION_PATTERN = "^models:/[^/@]+/[1-9][0-9]{0,9}$"
ALIAS_PATTERN = "^models:/[^/@]+@[A-Za-z0-9_.-]+$"
# One expression each: a reader, and the API server's estimate of cost, can follow them.
URI_PATTERNS = (
    VERSION_PATTERN,
    ALIAS_PATTERN,
    "^runs:/[^/]+/.+$",
    "^s3://[^/]+/.+$",
    "^https://[^/]+/.+$",
    "^pvc://[a-z0-9][-a-z0-9.]*/.+$",
)
LOGIN_PATTERN = "^[a-z0-9]+://[^/]*@"
REGISTRY_PATTERN = "^(https?://[^/@?#]+(/[^@?#]*)?)?$"
DOT_SEGMENT_PATTERN = "/[.][.]?(/|$)"
MOUNT_PATH_PATTERN = "^(/[^/]+)+$"
HOSTNAME_PATTERN = (
    "^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"  # RFC 1123
)
FIELD_NAME_PATTERN = "^[A-Za-z0-9_.-]+$"
OPERATORS_LABELS = ("name", "instance", "managed-by")
SHARES = (api.ERROR_RATE, api.CLASS_MISMATCH)
A_DURATION = "must be a whole number above 0 and a unit, s, m or h, for example 30s, 5m or 1h"


def _is_uri(uri: str) -> bool:
    return any(full_match(pattern)(uri) for pattern in URI_PATTERNS)


def _rises(steps: list[Mapping[str, Any]]) -> bool:
    weights = [step["setWeight"] for step in steps if "setWeight" in step]
    return weights == sorted(set(weights))


def _is_free_label(key: str) -> bool:
    taken = {f"app.kubernetes.io/{name}" for name in OPERATORS_LABELS}
    return not key.startswith(f"{api.GROUP}/") and key not in taken


def _is_free_path(mount: Mapping[str, Any]) -> bool:
    path = mount["mountPath"]
    return not any(path == taken or path.startswith(f"{taken}/") for taken in api.RESERVED_PATHS)


def _mounts_are_of_volumes(server: Mapping[str, Any]) -> bool:
    volumes = {volume["name"] for volume in server.get("volumes", ())}
    return all(mount["name"] in volumes for mount in server.get("volumeMounts", ()))


def _is_share(metric: Mapping[str, Any]) -> bool:
    limits = [metric[limit] for limit in ("min", "max") if limit in metric]
    return not _is_own(metric, *SHARES) or all(0 <= limit <= 1 for limit in limits)


def _is_own(metric: Mapping[str, Any], *names: str) -> bool:
    """Whether a metric is a built-in one of these, and not a query under its name."""
    return metric["name"] in names and "prometheus" not in metric


def _asks_about_both(metric: Mapping[str, Any]) -> bool:
    compares = "prometheus" in metric and "maxRatioToStable" in metric
    return not compares or api.REVISION_PLACEHOLDER in metric["prometheus"]["query"]


IDENTITY = (
    Rule(
        "",
        f"self.metadata.name.matches('{NAME_PATTERN}')",
        "metadata.name must begin with a lowercase letter, hold only lowercase letters, digits "
        f"and -, not end with -, and have at most {api.NAME_MAX_LENGTH} characters",
        lambda root: full_match(NAME_PATTERN)(root["metadata"]["name"]),
        {"maxLength": api.NAME_MAX_LENGTH, "pattern": NAME_PATTERN},
    ),
    Rule(
        "spec",
        "self.progressDeadlineSeconds > self.minReadySeconds",
        "progressDeadlineSeconds must be more than minReadySeconds, or no revision ever succeeds",
        lambda spec: spec["progressDeadlineSeconds"] > spec["minReadySeconds"],
    ),
    Rule(
        "spec.autoscaling",
        "self.minReplicas <= self.maxReplicas",
        "minReplicas must not be more than maxReplicas",
        lambda node: node["minReplicas"] <= node["maxReplicas"],
    ),
)

MODEL = (
    Rule(
        "spec.model.uri",
        " || ".join(f"self.matches('{pattern}')" for pattern in URI_PATTERNS),
        "must be models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN_ID/PATH, s3://BUCKET/KEY, "
        "https://HOST/PATH or pvc://CLAIM/PATH",
        _is_uri,
        {"pattern": "^(models:/|runs:/|s3://|https://|pvc://).+"},
    ),
    Rule(
        "spec.model.uri",
        f"!self.matches('{LOGIN_PATTERN}')",
        "must not hold a user or a password: put them into the Secret of credentialsSecretRef",
        lambda uri: re.match(LOGIN_PATTERN, uri) is None,
    ),
    Rule(
        "spec.model.uri",
        f"!self.matches('{DOT_SEGMENT_PATTERN}')",
        "must not hold . or .. as a part of its path",
        lambda uri: re.search(DOT_SEGMENT_PATTERN.replace("$", r"\Z"), uri) is None,
    ),
    looks_like(
        "spec.model.sha256",
        "^([0-9a-f]{64})?$",
        "must be 64 lowercase hexadecimal digits; leave it empty to take the registered digest",
    ),
    Rule(
        "spec.model",
        "self.updatePolicy != 'FollowAlias' || !has(self.sha256) || self.sha256 == ''",
        "sha256 pins one version, and updatePolicy FollowAlias follows many: leave out one",
        lambda model: model["updatePolicy"] != "FollowAlias" or not model.get("sha256"),
    ),
    Rule(
        "spec.model",
        f"self.updatePolicy != 'FollowAlias' || self.uri.matches('{ALIAS_PATTERN}')",
        "updatePolicy FollowAlias needs an alias to follow: models:/NAME@ALIAS",
        lambda model: (
            model["updatePolicy"] != "FollowAlias" or full_match(ALIAS_PATTERN)(model["uri"])
        ),
    ),
    Rule(
        "spec.model",
        "!has(self.requiredTags) || self.uri.startsWith('models:/')",
        "requiredTags are tags of a registered version: only a uri with models:/ has them",
        lambda model: "requiredTags" not in model or model["uri"].startswith("models:/"),
    ),
    Rule(
        "spec.model",
        "!has(self.registry) || self.registry == '' || self.uri.startsWith('models:/') || "
        "self.uri.startsWith('runs:/')",
        "registry is an MLflow server: only a uri with models:/ or runs:/ is asked there",
        lambda model: not model.get("registry") or model["uri"].startswith(("models:/", "runs:/")),
    ),
    looks_like(
        "spec.model.registry",
        REGISTRY_PATTERN,
        "must be the http:// or https:// address of an MLflow server, without user and password",
    ),
)

SERVER = (
    Rule(
        "spec.server.env[]",
        f"!(self.name in [{_listed(api.RESERVED_ENVIRONMENT)}])",
        f"{', '.join(sorted(api.RESERVED_ENVIRONMENT))} are set by the operator: leave them out",
        lambda variable: variable["name"] not in api.RESERVED_ENVIRONMENT,
    ),
    Rule(
        "spec.server.env",
        "self.all(one, self.exists_one(other, other.name == one.name))",
        "every variable must have a name of its own",
        lambda variables: _distinct(variable["name"] for variable in variables),
    ),
    Rule(
        "spec.server.volumes[]",
        f"!(self.name in [{_listed(api.RESERVED_VOLUMES)}])",
        f"{', '.join(sorted(api.RESERVED_VOLUMES))} are the names of the operator's own volumes: "
        "these are taken, choose another",
        lambda volume: volume["name"] not in api.RESERVED_VOLUMES,
    ),
    Rule(
        "spec.server.volumes",
        "self.all(one, self.exists_one(other, other.name == one.name))",
        "every volume must have a name of its own",
        lambda volumes: _distinct(volume["name"] for volume in volumes),
    ),
    Rule(
        "spec.server.volumeMounts[]",
        f"self.mountPath.matches('{MOUNT_PATH_PATTERN}') && "
        f"!self.mountPath.matches('{DOT_SEGMENT_PATTERN}')",
        "mountPath must be an absolute path below /, without //, . or .. in it or / at its end",
        lambda mount: (
            full_match(MOUNT_PATH_PATTERN)(mount["mountPath"])
            and not {".", ".."} & set(mount["mountPath"].split("/"))
        ),
    ),
    Rule(
        "spec.server.volumeMounts[]",
        " && ".join(
            f"self.mountPath != '{taken}' && !self.mountPath.startsWith('{taken}/')"
            for taken in api.RESERVED_PATHS
        ),
        f"{', '.join(api.RESERVED_PATHS)} are the operator's own: mount at another path",
        _is_free_path,
    ),
    Rule(
        "spec.server.volumeMounts",
        "self.all(one, self.exists_one(other, other.mountPath == one.mountPath))",
        "every mount must have a mountPath of its own",
        lambda mounts: _distinct(mount["mountPath"] for mount in mounts),
    ),
    Rule(
        "spec.server",
        "!has(self.volumeMounts) || self.volumeMounts.all(mount, has(self.volumes) && "
        "self.volumes.exists(volume, volume.name == mount.name))",
        "every one of volumeMounts must name one of volumes",
        _mounts_are_of_volumes,
    ),
    Rule(
        "spec.server.podLabels",
        f"self.all(key, !key.startsWith('{api.GROUP}/') && "
        f"!(key in [{_listed(f'app.kubernetes.io/{name}' for name in OPERATORS_LABELS)}]))",
        f"labels of {api.GROUP} and app.kubernetes.io/name, /instance and /managed-by are the "
        "operator's: leave them out",
        lambda labels: all(_is_free_label(key) for key in labels),
    ),
)

STRATEGY = (
    _only_with("spec.strategy", "canary", "type", "Canary"),
    _only_with("spec.strategy", "blueGreen", "type", "BlueGreen"),
    _only_with("spec.strategy", "shadow", "type", "Shadow"),
    _needs("spec.strategy", "canary", "type", "Canary"),
    Rule(
        "spec.strategy.canary.steps[]",
        "has(self.setWeight) != has(self.pause)",
        "a step is either setWeight or pause",
        lambda step: ("setWeight" in step) != ("pause" in step),
    ),
    Rule(
        "spec.strategy.canary.steps",
        "self.filter(step, has(step.setWeight)).map(step, step.setWeight).isSorted() && "
        "self.filter(step, has(step.setWeight)).all(one, "
        "self.filter(step, has(step.setWeight)).exists_one(other, "
        "other.setWeight == one.setWeight))",
        "each setWeight must be larger than the one before",
        _rises,
    ),
    looks_like("spec.strategy.canary.steps[].pause.duration", durations.PATTERN, A_DURATION),
)

ANALYSIS = (
    Rule(
        "spec",
        "!has(self.analysis) || self.strategy.type in ['Canary', 'BlueGreen', 'Shadow']",
        "analysis judges a revision before it serves everybody: it needs strategy Canary, "
        "BlueGreen or Shadow",
        lambda spec: (
            "analysis" not in spec or spec["strategy"]["type"] in {"Canary", "BlueGreen", "Shadow"}
        ),
    ),
    looks_like("spec.analysis.interval", durations.PATTERN, A_DURATION),
    Rule(
        "spec.analysis.metrics",
        "self.all(one, self.exists_one(other, other.name == one.name))",
        "every metric must have a name of its own",
        lambda metrics: _distinct(metric["name"] for metric in metrics),
    ),
    Rule(
        "spec.analysis.metrics[]",
        "has(self.max) || has(self.min) || has(self.maxRatioToStable)",
        "a metric needs a limit: max, min or maxRatioToStable",
        lambda metric: any(limit in metric for limit in ("max", "min", "maxRatioToStable")),
    ),
    Rule(
        "spec.analysis.metrics[]",
        "!has(self.max) || !has(self.min) || self.min <= self.max",
        "min must not be more than max, or no value passes",
        lambda metric: "max" not in metric or "min" not in metric or metric["min"] <= metric["max"],
    ),
    Rule(
        "spec.analysis.metrics[]",
        f"has(self.prometheus) || self.name in [{_listed(api.BUILT_IN_METRICS)}]",
        f"only {', '.join(sorted(api.BUILT_IN_METRICS))} are built in: a metric of another "
        "name needs prometheus.query",
        lambda metric: "prometheus" in metric or metric["name"] in api.BUILT_IN_METRICS,
    ),
    Rule(
        "spec.analysis.metrics[]",
        f"!(self.name in [{_listed(SHARES)}]) || has(self.prometheus) || "
        "((!has(self.max) || (self.max >= 0.0 && self.max <= 1.0)) && "
        "(!has(self.min) || (self.min >= 0.0 && self.min <= 1.0)))",
        f"{' and '.join(SHARES)} are shares from 0 to 1, not percent: 1 in 100 is 0.01",
        _is_share,
    ),
    Rule(
        "spec.analysis.metrics[]",
        f"self.name != '{api.CLASS_MISMATCH}' || has(self.prometheus) || "
        "!has(self.maxRatioToStable)",
        f"{api.CLASS_MISMATCH} compares with the stable revision already: give it max",
        lambda metric: not _is_own(metric, api.CLASS_MISMATCH) or "maxRatioToStable" not in metric,
    ),
    Rule(
        "spec.analysis.metrics[]",
        "!has(self.prometheus) || !has(self.maxRatioToStable) || "
        f"self.prometheus.query.contains('{api.REVISION_PLACEHOLDER}')",
        "maxRatioToStable asks the query about the stable revision too: let it name the revision "
        "by the placeholder that docs/analysis.md describes",
        _asks_about_both,
    ),
    Rule(
        "spec.analysis.metrics[]",
        f"self.name != '{api.SHADOW_AGREEMENT}'",
        f"{api.SHADOW_AGREEMENT} is what status calls the comparison of a shadow: choose another "
        "name",
        lambda metric: metric["name"] != api.SHADOW_AGREEMENT,
    ),
)

A_FIELD_NAME = (
    "must be the name of a header or cookie: letters, digits, dashes, underscores and dots"
)

TRAFFIC = (
    _only_with("spec.traffic", "gateway", "provider", "GatewayAPI"),
    _needs("spec.traffic", "gateway", "provider", "GatewayAPI"),
    _only_with("spec.traffic", "router", "provider", "Router"),
    Rule(
        "spec.traffic.router.sticky",
        "has(self.header) != has(self.cookie)",
        "sticky is either header or cookie",
        lambda sticky: ("header" in sticky) != ("cookie" in sticky),
    ),
    looks_like("spec.traffic.router.sticky.header", FIELD_NAME_PATTERN, A_FIELD_NAME),
    looks_like("spec.traffic.router.sticky.cookie", FIELD_NAME_PATTERN, A_FIELD_NAME),
    looks_like("spec.traffic.router.forceHeader", FIELD_NAME_PATTERN, A_FIELD_NAME),
    looks_like(
        "spec.traffic.gateway.hostnames[]",
        HOSTNAME_PATTERN,
        "must be a host name, for example cats.example.com or *.example.com",
    ),
)

PERMANENT = (*IDENTITY, *MODEL, *SERVER, *STRATEGY, *ANALYSIS, *TRAFFIC)
