"""The actions that ArgoCD offers, and what the operator makes of them."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from model_operator.actions import ANNOTATION, Verb
from tests.gitops.argocd_lua import DEFINITIONS, acted, offered
from tests.gitops.states import played
from tests.operator.builders import make_model_deployment
from tests.operator.stories import STEPS, canary, until
from tests.operator.world import World

STORIES = 6
"""How many stories are asked for every action now and then."""
NOT_KEPT = "is not kept: there is no such record"
"""What a rollback may be refused with: how many records there are, status does not say."""


def asked(world: World, verb: str) -> tuple[bool, str]:
    """What the operator says to ArgoCD's action in a copy of this world."""
    error = world.resolution_error
    other = copy.deepcopy(world, {id(error): error})  # an exception is not copied
    other.resource = acted(verb, other.resource)
    other.one_pass()
    answer = other.status["lastAction"]
    assert answer["verb"] == verb, "it was read, and is this one"
    return answer["accepted"], answer["message"]


def test_every_verb_of_the_operator_is_an_action():
    assert set(DEFINITIONS) == set(Verb)
    assert offered(make_model_deployment().build()) == set(), "nobody has looked at it yet"


@pytest.mark.parametrize("seed", range(STORIES))
def test_what_is_offered_is_accepted_and_what_is_not_offered_would_be_refused(seed: int):
    choices = random.Random(seed)
    for world in played(seed):
        current = world.resource["metadata"]["generation"]
        if choices.random() > 0.15 or world.status.get("observedGeneration") != current:
            continue
        world.one_pass()
        there = offered(world.resource)
        verb = choices.choice(sorted(Verb))
        if verb == Verb.RESOLVE and world.resolution_error:
            continue  # what the registry answers, nobody can know before
        accepted, message = asked(world, verb)
        if verb in there:
            assert accepted or NOT_KEPT in message, (verb, message, world.status)
        elif verb not in ("pause", "resume", "rollback"):
            assert not accepted, (verb, message, world.status)


def in_its_first_pause() -> World:
    world = World(canary())
    world.settle()
    world.edit(canary().version(2))
    return until(world, lambda: world.status.get("currentStepIndex") == 1)


@pytest.mark.parametrize(
    ("verb", "about"),
    [
        ("promote", {"step": 1}),
        ("abort", {}),
        ("pause", {}),
        ("rollback", {}),
        ("resolve", {}),
    ],
)
def test_an_action_names_what_argocd_shows_and_nothing_that_comes_after_it(
    verb: str, about: dict[str, Any]
):
    world = in_its_first_pause()
    resource = acted(verb, copy.deepcopy(world.resource))
    found = json.loads(resource["metadata"]["annotations"][ANNOTATION])
    revisions = {
        "promote": world.status["canary"]["revision"],
        "abort": world.status["canary"]["revision"],
        "rollback": world.status["stable"]["revision"],
    }
    expected = {"verb": verb, "generation": 2, **about}
    if verb in revisions:
        expected["revision"] = revisions[verb]
    identity = found.pop("id")
    assert found == expected
    assert identity.startswith(f"argocd-{verb}-")


def test_an_action_changes_nothing_but_its_annotation():
    world = in_its_first_pause()
    world.resource["metadata"]["annotations"] = {"team": "vision"}
    before = copy.deepcopy(world.resource)
    after = acted("pause", copy.deepcopy(world.resource))
    assert after["metadata"]["annotations"].pop(ANNOTATION)
    assert after == before


def test_a_promotion_that_was_asked_for_twice_takes_one_step():
    world = in_its_first_pause()
    assert offered(world.resource) == {"promote", "abort", "pause", "rollback", "resolve"}
    late = acted("promote", copy.deepcopy(world.resource))["metadata"]["annotations"]
    accepted, _ = asked(world, "promote")
    assert accepted
    world.resource["metadata"]["annotations"] = late
    until(world, lambda: world.status.get("currentStepIndex") == 3)
    late[ANNOTATION] = late[ANNOTATION].replace("argocd-promote-", "argocd-promote-again-")
    world.one_pass()
    assert not world.status["lastAction"]["accepted"]
    assert "step 1 is not the current one" in world.status["lastAction"]["message"]


def test_pause_and_resume_take_turns():
    world = in_its_first_pause()
    world.resource = acted("pause", world.resource)
    world.one_pass()
    assert "resume" in offered(world.resource)
    assert not {"pause", "promote"} & offered(world.resource)
    world.resource = acted("resume", world.resource)
    world.one_pass()
    assert "pause" in offered(world.resource)


def test_an_abort_can_be_tried_again_and_a_rollout_that_is_through_can_be_taken_back():
    world = in_its_first_pause()
    world.resource = acted("abort", world.resource)
    world.settle()
    assert "retry" in offered(world.resource)
    accepted, words = asked(world, "retry")
    assert accepted, words
    through = World(make_model_deployment())
    through.settle()
    first = through.status["stable"]["revision"]
    through.edit(make_model_deployment().version(2))
    through.settle()
    assert "rollback" in offered(through.resource)
    through.resource = acted("rollback", through.resource)
    through.settle()
    assert through.status["stable"]["revision"] == first


def test_a_whole_canary_changes_nothing_of_what_was_applied():
    """ArgoCD compares what was applied with what is live: of the operator's writes it sees none."""
    applied = canary().version(2).build()
    world = World(canary())
    world.settle()
    world.edit(canary().version(2))
    until(world, lambda: world.status.get("currentStepIndex") == len(STEPS) - 1)
    world.ask("promote")
    del world.resource["metadata"]["annotations"]  # what people asked for, not what it writes
    world.settle()
    assert world.resource["spec"] == applied["spec"]
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        assert key not in world.resource["metadata"], key
    assert not [write for write in world.writes if "ModelDeployment" in write]
