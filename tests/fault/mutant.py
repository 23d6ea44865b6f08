"""The operator without one of its safety rules: `python -m tests.fault.mutant may_take_over`.

The campaign starts it to prove that it would notice.
"""

from __future__ import annotations

import sys

from model_operator import main
from model_operator.rollout import safety


def remove(rule: str) -> None:
    """Makes a rule of `rollout.safety` say yes to everything."""
    if not callable(getattr(safety, rule, None)):
        raise SystemExit(f"there is no safety rule {rule}")
    setattr(safety, rule, lambda *_args, **_kwargs: True)


if __name__ == "__main__":
    remove(sys.argv.pop(1))
    sys.exit(main.main())
