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


def may_stop(view: View, revision: str, *, due: bool) -> bool:
    """Another revision than the serving one is stopped when that is due and the data plane has
    confirmed that all requests go elsewhere; one without ready pods serves nobody.

    While it is not known what serves, whatever is ready may be serving.
    """
    if not view.size(revision).ready:
        return due
    return due and view.serving is not None and (view.serving_confirmed or view.replicas == 0)
