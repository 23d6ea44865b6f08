"""The rules that go: what only a later release does is refused until then, never ignored.

Each line of the table goes by itself, with the release that does what it refuses; its remark in
the field's description goes with it.
"""

from __future__ import annotations

from model_operator.rules.rule import Rule


def _not_chosen(path: str, field_name: str, value: str, instead: str) -> Rule:
    """A choice that a later release will know."""
    return Rule(
        path,
        f"self.{field_name} != '{value}'",
        f"{field_name} {value} is not supported by this release: use {instead}",
        lambda node: node[field_name] != value,
        remark=(f"{path}.{field_name}", f"{value} is not supported by this release."),
    )


def _absent(path: str, member: str) -> Rule:
    """A setting that a later release will know."""
    return Rule(
        path,
        f"!has(self.{member})",
        f"{member} is not supported by this release: leave it out",
        lambda node: member not in node,
        remark=(f"{path}.{member}", "Not supported by this release."),
    )


def _scheme_absent(scheme: str) -> Rule:
    """A kind of address that a later release will know."""
    return Rule(
        "spec.model.uri",
        f"!self.startsWith('{scheme}')",
        f"{scheme} is not supported by this release: register the model and use "
        "models:/NAME/VERSION or models:/NAME@ALIAS",
        lambda uri: not uri.startswith(scheme),
        remark=("spec.model.uri", f"{scheme} is not supported by this release."),
    )


NOT_YET = (
    _not_chosen("spec.model", "updatePolicy", "FollowAlias", "Pinned"),
    _absent("spec.model", "requiredTags"),
    Rule(
        "spec.model",
        "!has(self.registry) || self.registry == ''",
        "registry is not supported by this release: leave it out",
        lambda model: not model.get("registry"),
        remark=("spec.model.registry", "Not supported by this release."),
    ),
    _scheme_absent("runs:/"),
    _scheme_absent("s3://"),
    _scheme_absent("https://"),
    _scheme_absent("pvc://"),
)
