"""The operator without one of its safety rules, to prove that the campaign would notice."""

from __future__ import annotations

from model_operator.rollout import safety


def remove(rule: str) -> None:
    """Makes a rule of `rollout.safety` say yes to everything, in this process."""
    if not callable(getattr(safety, rule, None)):
        raise SystemExit(f"there is no safety rule {rule}")
    setattr(safety, rule, lambda *_args, **_kwargs: True)
