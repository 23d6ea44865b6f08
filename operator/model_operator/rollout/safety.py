"""The safety rules of every strategy: named predicates, each with a test of its own."""

from __future__ import annotations

from collections.abc import Mapping

from model_operator.rollout.view import Size, State, Step, View
from model_operator.route import Route


def may_take_over(view: View) -> bool:
    """A revision takes over only with all the pods that are asked for, just seen available,
    and with at least as many as the serving revision has ready.

    With `replicas: 0` nothing is asked to serve, and the switch waits until nothing does. Where
    something serves that status does not know of, status was lost or is behind: nothing moves in
    that pass. Two switches with no record between them, and nobody could tell what has served.
    """
    if view.serving and view.recorded_stable != view.serving:
        return False
    serving_ready = view.size(view.serving).ready if view.serving else 0
    enough = max(view.replicas, serving_ready)
    size = view.size(view.target)
    # Pods that are ready now, of a Deployment that asks for fewer, are about to end.
    return size.available >= enough and size.desired >= view.replicas and size.current


def may_stop(view: View, revision: str, *, due: bool) -> bool:
    """Another revision than the serving one is stopped when that is due, the data plane has
    confirmed that all requests go elsewhere, and what serves has all its pods: until then the
    other one is the way back. One without ready pods serves nobody.

    While it is not known what serves, whatever is ready may be serving.
    """
    if not view.size(revision).ready:
        return due
    if not due or view.serving is None or view.weight_of(revision) > 0:
        return False
    complete = view.size(view.serving).available >= view.replicas
    return view.replicas == 0 or (view.serving_confirmed and complete)


def may_have_weight(view: View, *, pods: int) -> bool:
    """A weight is raised only on a revision of which at least `pods` pods, and one at the least,
    were just seen available, only after the weight before was confirmed by the whole data plane,
    and only beside a stable revision that has a ready pod itself. Where status was lost, nothing
    moves in that pass.
    """
    size = view.size(view.target)
    if view.serving is None or view.recorded_stable is None or view.cannot_divide:
        return False
    enough = size.available >= max(pods, 1) and size.desired >= pods and size.current
    return enough and view.serving_confirmed and view.size(view.serving).ready > 0


def may_keep_weight(view: View) -> bool:
    """A revision keeps the requests that it has as long as one of its pods is ready. While stable
    has none, nothing is moved: there is nowhere to move it to.
    """
    if view.size(view.target).ready:
        return True
    return view.serving is not None and not view.size(view.serving).ready


def must_stay(written: Route, wanted: Route, sizes: Mapping[str, Size]) -> bool:
    """Requests are not taken from a revision that answers to be given to a stable one that has no
    ready pod. Another stable revision is a commit, which has rules of its own.
    """
    if written.stable != wanted.stable or written.canary is None:
        return False
    lowered = wanted.weight_of(written.canary) < written.weight
    stable, canary = (sizes.get(r, Size()).ready for r in (written.stable, written.canary))
    return lowered and canary > 0 and stable == 0


def takes_requests_away(view: View, step: Step) -> bool:
    """Whether a step is one that is taken whatever stands in the way of the rollout: it ends a
    revision that has a part of the requests, or gives the requests back.
    """
    if view.route is None or not view.route.weight or step.serve != view.route.stable:
        return False
    return step.state is State.FAILED or step.weight < view.route.weight


def has_the_cluster_for_itself(view: View, revision: str) -> bool:
    """No other revision has a pod, an ending one included, or is asked to have one. Only
    strategy Recreate asks: it trades a gap in serving for never running two at once.
    """
    return not any(
        size.existing or size.desired for other, size in view.sizes.items() if other != revision
    )
