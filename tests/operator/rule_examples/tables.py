"""Good and bad resources for every rule: what the tests of CEL, of Python and of a server share."""

from __future__ import annotations

from tests.operator.rule_examples.not_yet import NOT_YET
from tests.operator.rule_examples.permanent_rollout import ROLLOUT
from tests.operator.rule_examples.permanent_serving import SERVING

PERMANENT = (*SERVING, *ROLLOUT)
EXAMPLES = (*PERMANENT, *NOT_YET)
