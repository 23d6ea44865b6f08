"""The safety rules of every strategy: named predicates, each with a test of its own."""

from __future__ import annotations

from model_operator.rollout.view import View


def may_take_over(view: View) -> bool:
    """A revision takes over only with all the pods that are asked for, just seen available,
    and with at least as many as the serving revision has ready.

    With `replicas: 0` nothing is asked to serve, and the switch waits until nothing does.
    """
    serving_ready = view.size(view.serving).ready if view.serving else 0
    return view.size(view.target).available >= max(view.replicas, serving_ready)


def may_retire_others(view: View) -> bool:
    """Other revisions keep their size until the data plane has confirmed that all requests go
    to the serving one. With no ready pods there is nothing to confirm, and they are kept.
    """
    return view.serving_confirmed or view.replicas == 0
