"""Examples for the rules that go: an entry goes with its rule, and no other file changes.

Whatever else the release that does it must know of a field stands among the permanent rules' own.
"""

from __future__ import annotations

from tests.operator.rule_examples.examples import Examples
from tests.operator.rule_examples.resources import PLAIN, model

NOT_YET = (
    Examples(
        "spec.model",
        "FollowAlias is not supported",
        (PLAIN, model("models:/cats-dogs@champion", updatePolicy="Pinned")),
        (model("models:/cats-dogs@champion", updatePolicy="FollowAlias"),),
    ),
    Examples(
        "spec.model",
        "requiredTags is not supported",
        (PLAIN,),
        (model(requiredTags={"validation": "passed"}),),
    ),
    Examples(
        "spec.model",
        "registry is not supported",
        (PLAIN, model(registry="")),
        (model(registry="http://mlflow.ml:5000"),),
    ),
    *(
        Examples("spec.model.uri", f"{scheme} is not supported", (PLAIN,), (model(bad),))
        for scheme, bad in (
            ("runs:/", "runs:/0a1b/model"),
            ("s3://", "s3://bucket/model"),
            ("https://", "https://example.com/model"),
            ("pvc://", "pvc://claim/model"),
        )
    ),
)
