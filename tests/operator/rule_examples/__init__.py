"""Good and bad resources for every rule: what the tests of CEL, of Python and of a server share."""

from tests.operator.rule_examples.examples import Examples, Json
from tests.operator.rule_examples.not_yet import NOT_YET
from tests.operator.rule_examples.permanent_rollout import ROLLOUT
from tests.operator.rule_examples.permanent_serving import SERVING
from tests.operator.rule_examples.resources import model, resource, served, strategy

__all__ = [
    "EXAMPLES",
    "NOT_YET",
    "PERMANENT",
    "Examples",
    "Json",
    "model",
    "resource",
    "served",
    "strategy",
]

PERMANENT = (*SERVING, *ROLLOUT)
EXAMPLES = (*PERMANENT, *NOT_YET)
