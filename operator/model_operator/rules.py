"""What a ModelDeployment must satisfy beyond the types of its fields: one table of rules.

Each rule is written twice, as a CEL expression and as a Python predicate, and has one sentence.
`crd` puts the expression with its sentence into the CustomResourceDefinition; `validation`
evaluates the predicate in the operator, because API servers older than 1.25 know no CEL. The
tests hold the two against each other.

The expressions use only what the API server of Kubernetes 1.25 knows. They and the predicates
are read after defaults were filled in, so a field with a default is always there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_operator import api
from model_operator.api import durations


@dataclass(frozen=True)
class Rule:
    """One thing that must hold for every value at a path."""

    path: str
    """Fields joined by dots, `[]` for the items of a list: `spec.server.env[]`; "" is the root."""
    cel: str
    """Over `self`, the value at the path."""
    sentence: str
    """What a user reads: what is wanted, or what to do instead."""
    holds: Callable[[Any], bool]
    """The same as `cel`, over the JSON value at the path."""
    without_cel: Mapping[str, Any] = field(default_factory=dict)
    """Schema keywords that stand in for `cel` where the API server knows none; may be weaker."""


def _full(pattern: str) -> Callable[[str], bool]:
    """Whether a whole text matches. In Python, unlike in RE2, `$` also stands before a newline."""
    compiled = re.compile(pattern.removeprefix("^").removesuffix("$"))
    return lambda text: compiled.fullmatch(text) is not None


def _looks_like(path: str, pattern: str, sentence: str) -> Rule:
    """A text's form. A schema's own `pattern` would answer with the expression itself."""
    return Rule(path, f"self.matches('{pattern}')", sentence, _full(pattern), {"pattern": pattern})


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


def _not_chosen(path: str, field_name: str, value: str, instead: str) -> Rule:
    """A choice that a later release will know."""
    return Rule(
        path,
        f"self.{field_name} != '{value}'",
        f"{field_name} {value} is not supported by this release: use {instead}",
        lambda node: node[field_name] != value,
    )


def _absent(path: str, member: str) -> Rule:
    """A setting that a later release will know."""
    return Rule(
        path,
        f"!has(self.{member})",
        f"{member} is not supported by this release: leave it out",
        lambda node: member not in node,
    )


def _scheme_absent(scheme: str) -> Rule:
    """A kind of address that a later release will know."""
    return Rule(
        "spec.model.uri",
        f"!self.startsWith('{scheme}')",
        f"{scheme} is not supported by this release: register the model and use "
        "models:/NAME/VERSION or models:/NAME@ALIAS",
        lambda uri: not uri.startswith(scheme),
    )


def _distinct(values: Iterable[Any]) -> bool:
    return all(count == 1 for count in Counter(values).values())


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(f"'{text}'" for text in sorted(texts))


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
REGISTRY_PATTERN = "^https?://[^/@?#]+(/[^@?#]*)?$"
DOT_SEGMENT_PATTERN = "/[.][.]?(/|$)"
MOUNT_PATH_PATTERN = "^(/[^/]+)+$"
HOSTNAME_PATTERN = (
    "^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"  # RFC 1123
)
OPERATORS_LABELS = ("name", "instance", "managed-by")
A_DURATION = "must be a whole number above 0 and a unit, s, m or h, for example 30s, 5m or 1h"


def _is_uri(uri: str) -> bool:
    return any(_full(pattern)(uri) for pattern in URI_PATTERNS)


def _rises(steps: list[Mapping[str, Any]]) -> bool:
    weights = [step["setWeight"] for step in steps if "setWeight" in step]
    return weights == sorted(set(weights))


def _is_free_label(key: str) -> bool:
    taken = {f"app.kubernetes.io/{name}" for name in OPERATORS_LABELS}
    return not key.startswith(f"{api.GROUP}/") and key not in taken


def _is_free_path(mount: Mapping[str, Any]) -> bool:
    reserved = [f"/{name}" for name in api.RESERVED_VOLUMES]
    path = mount["mountPath"]
    return not any(path == taken or path.startswith(f"{taken}/") for taken in reserved)


def _mounts_are_of_volumes(server: Mapping[str, Any]) -> bool:
    volumes = {volume["name"] for volume in server.get("volumes", ())}
    return all(mount["name"] in volumes for mount in server.get("volumeMounts", ()))


def _is_share(metric: Mapping[str, Any]) -> bool:
    limits = [metric[limit] for limit in ("min", "max") if limit in metric]
    own = metric["name"] == "error-rate" and "prometheus" not in metric
    return not own or all(0 <= limit <= 1 for limit in limits)


IDENTITY = (
    Rule(
        "",
        f"self.metadata.name.matches('{NAME_PATTERN}')",
        "metadata.name must begin with a lowercase letter, hold only lowercase letters, digits "
        f"and -, not end with -, and have at most {api.NAME_MAX_LENGTH} characters",
        lambda root: _full(NAME_PATTERN)(root["metadata"]["name"]),
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
    _looks_like(
        "spec.model.sha256",
        "^[0-9a-f]{64}$",
        "must be 64 lowercase hexadecimal digits; leave it out to take the registered digest",
    ),
    Rule(
        "spec.model",
        "self.updatePolicy != 'FollowAlias' || !has(self.sha256)",
        "sha256 pins one version, and updatePolicy FollowAlias follows many: leave out one",
        lambda model: model["updatePolicy"] != "FollowAlias" or "sha256" not in model,
    ),
    Rule(
        "spec.model",
        f"self.updatePolicy != 'FollowAlias' || self.uri.matches('{ALIAS_PATTERN}')",
        "updatePolicy FollowAlias needs an alias to follow: models:/NAME@ALIAS",
        lambda model: model["updatePolicy"] != "FollowAlias" or _full(ALIAS_PATTERN)(model["uri"]),
    ),
    Rule(
        "spec.model",
        "!has(self.requiredTags) || self.uri.startsWith('models:/')",
        "requiredTags are tags of a registered version: only a uri with models:/ has them",
        lambda model: "requiredTags" not in model or model["uri"].startswith("models:/"),
    ),
    Rule(
        "spec.model",
        "!has(self.registry) || self.uri.startsWith('models:/') || self.uri.startsWith('runs:/')",
        "registry is an MLflow server: only a uri with models:/ or runs:/ is asked there",
        lambda model: "registry" not in model or model["uri"].startswith(("models:/", "runs:/")),
    ),
    _looks_like(
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
        "the names models and tmp are taken by the operator's own volumes: choose another",
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
            _full(MOUNT_PATH_PATTERN)(mount["mountPath"])
            and not {".", ".."} & set(mount["mountPath"].split("/"))
        ),
    ),
    Rule(
        "spec.server.volumeMounts[]",
        " && ".join(
            f"self.mountPath != '/{name}' && !self.mountPath.startsWith('/{name}/')"
            for name in sorted(api.RESERVED_VOLUMES)
        ),
        "/models and /tmp are the operator's own: mount at another path",
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
    _looks_like("spec.strategy.canary.steps[].pause.duration", durations.PATTERN, A_DURATION),
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
    _looks_like("spec.analysis.interval", durations.PATTERN, A_DURATION),
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
        f"only {' and '.join(sorted(api.BUILT_IN_METRICS))} are built in: a metric of another "
        "name needs prometheus.query",
        lambda metric: "prometheus" in metric or metric["name"] in api.BUILT_IN_METRICS,
    ),
    Rule(
        "spec.analysis.metrics[]",
        "self.name != 'error-rate' || has(self.prometheus) || "
        "((!has(self.max) || (self.max >= 0.0 && self.max <= 1.0)) && "
        "(!has(self.min) || (self.min >= 0.0 && self.min <= 1.0)))",
        "error-rate is a share from 0 to 1, not percent: 1 in 100 is 0.01",
        _is_share,
    ),
)

TRAFFIC = (
    _only_with("spec.traffic", "gateway", "provider", "GatewayAPI"),
    _needs("spec.traffic", "gateway", "provider", "GatewayAPI"),
    _looks_like(
        "spec.traffic.gateway.hostnames[]",
        HOSTNAME_PATTERN,
        "must be a host name, for example cats.example.com or *.example.com",
    ),
)

PERMANENT = (*IDENTITY, *MODEL, *SERVER, *STRATEGY, *ANALYSIS, *TRAFFIC)

NOT_YET = (
    _not_chosen("spec.strategy", "type", "Canary", "Standard or Recreate"),
    _not_chosen("spec.strategy", "type", "BlueGreen", "Standard or Recreate"),
    _not_chosen("spec.strategy", "type", "Shadow", "Standard or Recreate"),
    _absent("spec", "analysis"),
    _absent("spec", "autoscaling"),
    _not_chosen("spec.traffic", "provider", "Router", "Service"),
    _not_chosen("spec.traffic", "provider", "GatewayAPI", "Service"),
    _not_chosen("spec.model", "updatePolicy", "FollowAlias", "Pinned"),
    _absent("spec.model", "requiredTags"),
    _absent("spec.model", "registry"),
    _scheme_absent("runs:/"),
    _scheme_absent("s3://"),
    _scheme_absent("https://"),
    _scheme_absent("pvc://"),
)
"""What only a later release does is refused, never ignored. Each line goes by itself."""

ALL = (*NOT_YET, *PERMANENT)
"""In the order in which the operator tells them; the API server tells all at once."""
