"""What is known of a kind: what is news, what a sweep finds, and when a watch is deaf."""

from __future__ import annotations

from typing import Any

import pytest

from model_operator import api, naming
from model_operator.clients.view import PATIENCE_SECONDS, Key, Known, View, known

CATS, DOGS = ("vision", "cats"), ("vision", "dogs")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard() -> list[Key]:
    return []


@pytest.fixture
def view(heard: list[Key], clock: Clock) -> View:
    return View("Pod", None, heard.append, clock)


def pod(uid: str, version: str, owner: str = "cats") -> dict[str, Any]:
    labels = {naming.OWNER_LABEL: owner}
    named = {"name": f"name-{uid}", "namespace": "vision"}
    return {"uid": uid, **named, "labels": labels, "resourceVersion": version}


def listed(*objects: dict[str, Any]) -> dict[str, Known]:
    return {one["uid"]: kept for one in objects if (kept := known("Pod", one))}


def swept(view: View, *objects: dict[str, Any]) -> int:
    view.begin_sweep()
    return view.end_sweep(listed(*objects))


def test_each_change_is_told_of_once_whoever_sees_it_first(view: View, heard: list[Key]):
    view.tell("ADDED", pod("a", "1"))
    assert swept(view, pod("a", "1")) == 0
    view.tell("MODIFIED", pod("a", "1"))
    assert heard == [CATS]
    assert swept(view, pod("a", "2")) == 1
    view.tell("MODIFIED", pod("a", "2"))
    assert heard == [CATS, CATS]


def write(view: View, version: str, *meanwhile: str, expected: bool = True) -> None:
    """We write a pod; the watch tells of these versions before we are answered, "" is its end."""
    with view.writing(pod("a", "1")) as expect:
        for told in meanwhile:
            view.tell("MODIFIED" if told else "DELETED", pod("a", told or "9"))
        if expected:
            expect(pod("a", version))


@pytest.fixture
def quiet(view: View, heard: list[Key]) -> View:
    """Knows a pod of cats."""
    view.tell("ADDED", pod("a", "1"))
    heard.clear()
    return view


@pytest.mark.parametrize("meanwhile", [(), ("5",)], ids=["told later", "told before the answer"])
def test_what_we_wrote_ourselves_is_no_news(
    quiet: View, heard: list[Key], meanwhile: tuple[str, ...]
):
    write(quiet, "5", *meanwhile)
    quiet.tell("MODIFIED", pod("a", "5"))
    assert swept(quiet, pod("a", "5")) == 0
    assert heard == []
    quiet.tell("MODIFIED", pod("a", "6"))
    assert heard == [CATS]


def test_what_we_wrote_ourselves_is_news_where_nobody_expects_it(quiet: View, heard: list[Key]):
    write(quiet, "5", "5", expected=False)
    assert heard == [CATS]


@pytest.mark.parametrize(
    "meanwhile", [("4",), ("4", "5"), ("5", "6"), ("",), ("5", "")], ids="-".join
)
def test_what_others_do_to_it_while_we_write_is_news(
    quiet: View, heard: list[Key], meanwhile: tuple[str, ...]
):
    write(quiet, "5", *meanwhile)
    assert heard == [CATS]


@pytest.mark.parametrize(
    "meanwhile", [("5", "6"), ("5", ""), ("6",)], ids=["ours first", "gone", "of ours nothing"]
)
def test_what_is_known_after_a_write_is_what_was_told_last(
    quiet: View, heard: list[Key], meanwhile: tuple[str, ...]
):
    write(quiet, "5", *meanwhile)
    last = meanwhile[-1]
    heard.clear()
    assert swept(quiet, *([pod("a", last)] if last else [])) == 0
    assert heard == []


def test_what_has_been_read_before_the_write_is_no_news_where_it_is_told_late(
    quiet: View, heard: list[Key]
):
    write(quiet, "5", "1")
    assert swept(quiet, pod("a", "5")) == 0
    assert heard == []


def test_what_is_told_while_a_write_fails_is_news(quiet: View, heard: list[Key]):
    def fail() -> None:
        with quiet.writing(pod("a", "1")):
            quiet.tell("MODIFIED", pod("a", "4"))
            assert heard == []
            raise OSError("away")

    with pytest.raises(OSError, match="away"):
        fail()
    assert heard == [CATS]


def test_what_others_do_before_we_write_is_news_however_late_it_is_told(
    quiet: View, heard: list[Key]
):
    write(quiet, "8")
    quiet.tell("MODIFIED", pod("a", "7"))
    assert heard == [CATS]


def test_what_was_not_known_and_is_written_is_news_when_it_is_told_of(view: View, heard: list[Key]):
    write(view, "1")
    view.tell("ADDED", pod("a", "1"))
    assert heard == [CATS]


def test_a_sweep_that_listed_before_we_wrote_finds_nothing(quiet: View, heard: list[Key]):
    quiet.begin_sweep()
    write(quiet, "5")
    assert quiet.end_sweep(listed(pod("a", "1"))) == 0
    assert heard == []


def test_an_object_that_changes_hands_is_news_for_both(view: View, heard: list[Key]):
    view.tell("ADDED", pod("a", "1"))
    heard.clear()
    view.tell("MODIFIED", pod("a", "2", owner="dogs"))
    assert sorted(heard) == [CATS, DOGS]


def test_an_object_that_loses_its_owners_label_is_news_for_that_owner(view: View, heard: list[Key]):
    view.tell("ADDED", pod("a", "1"))
    view.tell("MODIFIED", {**pod("a", "2"), "labels": {}})
    assert heard == [CATS, CATS]
    assert len(view) == 0


def test_a_list_tells_of_what_differs_and_of_what_is_gone(view: View, heard: list[Key]):
    for one in (pod("same", "1", "ants"), pod("other", "1"), pod("gone", "1", "dogs")):
        view.tell("ADDED", one)
    heard.clear()
    view.replace(listed(pod("same", "1", "ants"), pod("other", "2")))
    assert sorted(heard) == [CATS, DOGS]


def test_a_sweep_finds_what_was_made_changed_and_deleted(view: View, heard: list[Key]):
    view.replace(listed(pod("changed", "1"), pod("deleted", "1", "dogs")))
    heard.clear()
    assert swept(view, pod("changed", "2"), pod("made", "1", "ants")) == 3
    assert sorted(heard) == [("vision", "ants"), CATS, DOGS]
    assert swept(view, pod("changed", "2"), pod("made", "1", "ants")) == 0


def test_what_is_told_during_a_sweep_is_newer_than_its_list(view: View, heard: list[Key]):
    view.replace(listed(pod("changed", "1"), pod("deleted", "1")))
    view.begin_sweep()
    view.tell("MODIFIED", pod("changed", "2"))
    view.tell("DELETED", pod("deleted", "1"))
    view.tell("ADDED", pod("made", "3"))
    heard.clear()
    assert view.end_sweep(listed(pod("changed", "1"), pod("deleted", "1"))) == 0
    assert heard == []
    assert swept(view, pod("changed", "2"), pod("made", "3")) == 0


def test_a_list_during_a_sweep_is_newer_than_the_sweeps_own(view: View):
    view.begin_sweep()
    view.replace(listed(pod("a", "2")))
    assert view.end_sweep(listed(pod("a", "1"))) == 0
    assert swept(view, pod("a", "2")) == 0


def test_a_sweep_over_an_older_view_of_the_cluster_ends_in_the_fresh_one(
    view: View, heard: list[Key]
):
    view.replace(listed(pod("a", "2")))
    swept(view, pod("a", "1"))
    heard.clear()
    assert swept(view, pod("a", "2")) == 1
    assert heard == [CATS]


def test_a_sweep_that_was_only_faster_than_the_watch_is_held_against_nobody(
    view: View, clock: Clock
):
    view.replace({})
    swept(view, pod("a", "1"))
    view.tell("ADDED", pod("a", "1"))
    clock.now += PATIENCE_SECONDS
    assert view.missed() == (0, False)


def test_a_watch_that_leaves_out_one_change_and_tells_others_has_missed_it(
    view: View, clock: Clock
):
    view.replace({})
    swept(view, pod("a", "1"))
    assert view.missed() == (0, False), "not yet"
    clock.now += PATIENCE_SECONDS
    view.tell("ADDED", pod("b", "1"))
    assert view.missed() == (1, False)
    assert view.missed() == (0, False), "each is counted once"


def test_a_watch_that_tells_nothing_after_a_sweep_has_found_something_is_deaf(
    view: View, clock: Clock
):
    view.replace({})
    clock.now += 1
    swept(view, pod("a", "1"))
    clock.now += PATIENCE_SECONDS
    view.alive()  # bookmarks do not help
    assert view.missed() == (1, True)


def test_a_new_list_clears_a_watch_of_what_was_missed_before(view: View, clock: Clock):
    view.replace({})
    clock.now += 1
    swept(view, pod("a", "1"))
    clock.now += PATIENCE_SECONDS
    view.replace(listed(pod("a", "1")))
    assert view.missed() == (0, False)


@pytest.mark.parametrize("sign", ["bookmark", "event", "list", "sweep"])
def test_the_age_is_counted_from_the_last_sign_of_life(view: View, clock: Clock, sign: str):
    view.replace({})
    clock.now += 500
    assert view.age == 500
    match sign:
        case "bookmark":
            view.alive()
        case "event":
            view.tell("ADDED", pod("a", "1"))
        case "list":
            view.replace({})
        case "sweep":
            swept(view)
    assert view.age == 0


def test_a_sweep_that_finds_something_is_no_sign_of_life(view: View, clock: Clock):
    view.replace({})
    clock.now += 500
    swept(view, pod("a", "1"))
    assert view.age == 500


def test_a_model_deployment_is_its_own_owner():
    metadata = {"uid": "u", "namespace": "vision", "name": "cats", "resourceVersion": "7"}
    assert known(api.KIND, metadata) == Known(CATS, "7", "cats")


def test_what_exists_at_the_first_list_is_greeted_and_what_changes_later_is_news():
    greeted: list[Key] = []
    heard: list[Key] = []
    view = View("Pod", None, heard.append, greet=greeted.append)
    view.replace(listed(pod("a", "1")))
    assert (greeted, heard) == ([CATS], [])
    view.tell("MODIFIED", pod("a", "2"))
    view.replace(listed(pod("a", "3"), pod("b", "1", "dogs")))
    assert (greeted, sorted(heard)) == ([CATS], [CATS, CATS, DOGS])
