"""What a ModelDeployment must satisfy beyond the types of its fields: one table of rules.

Each rule is written twice, as a CEL expression and as a Python predicate, and has one sentence.
`crd` puts the expression with its sentence into the CustomResourceDefinition; `validation`
evaluates the predicate in the operator, because API servers older than 1.25 know no CEL. The
tests hold the two against each other.

The expressions use only what the API server of Kubernetes 1.25 knows. They and the predicates
are read after defaults were filled in, so a field with a default is always there.
"""

from __future__ import annotations

from model_operator.rules.not_yet import NOT_YET
from model_operator.rules.permanent import PERMANENT
from model_operator.rules.rule import Rule

__all__ = ["ALL", "NOT_YET", "PERMANENT", "Rule"]

ALL = (*NOT_YET, *PERMANENT)
"""In the order in which the operator tells them; the API server tells all at once."""
