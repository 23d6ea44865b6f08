"""What a view says that a resource's objects are called: all of them, or that it cannot tell."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from model_operator import naming
from model_operator.clients.view import TRUSTED_SECONDS, Key, Known, View, known

KEYS = (("vision", "cats"), ("vision", "dogs"))
keys, names = st.sampled_from(KEYS), st.sampled_from("abc")


def metadata(key: Key, name: str, uid: str, version: int) -> dict[str, object]:
    namespace, owner = key
    labels = {naming.OWNER_LABEL: owner}
    identity = {"name": name, "namespace": namespace, "uid": uid}
    return {**identity, "labels": labels, "resourceVersion": str(version)}


class Names(RuleBasedStateMachine):
    """Objects come and go; the view hears of it at once, later, or by a list."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.view = View("Service", None, lambda key: None, lambda: self.now)
        self.view.replace({})
        self.present: dict[str, tuple[Key, dict[str, object]]] = {}
        """By name."""
        self.untold: list[tuple[str, dict[str, object]]] = []
        self.ours: set[tuple[Key, str]] = set()
        """Written by us, and not told of yet."""
        self.made = 0

    @rule(key=keys, name=names)
    def we_create(self, key: Key, name: str) -> None:
        if name not in self.present:
            self.view.wrote(key, name)
            # What went unheard and is made again is found by its name: a pass may write it.
            if name not in {body["name"] for _, body in self.untold}:
                self.ours.add((key, name))
            self._add(key, name)

    @rule(key=keys, name=names)
    def we_write_again(self, key: Key, name: str) -> None:
        if name in self.present and self.present[name][0] == key:
            self.view.wrote(key, name)

    @rule(key=keys, name=names)
    def we_are_refused(self, key: Key, name: str) -> None:
        if name not in self.present:
            self.view.wrote(key, name)
            self.view.did_not_write(key, name)
            self.ours.discard((key, name))

    @rule(key=keys, name=names)
    def somebody_creates(self, key: Key, name: str) -> None:
        if name not in self.present:
            self._add(key, name)

    @rule(name=names)
    def it_is_deleted(self, name: str) -> None:
        if name in self.present:
            key, body = self.present.pop(name)
            self.untold.append(("DELETED", body))
            self.ours.discard((key, name))

    @precondition(lambda self: self.untold)
    @rule()
    def the_watch_tells_one(self) -> None:
        change, body = self.untold.pop(0)
        self.view.tell(change, body)
        self._told()

    @rule()
    def it_is_listed_anew(self) -> None:
        self.view.replace(self._listed())
        self.untold.clear()
        self.ours.clear()

    @rule()
    def it_is_swept(self) -> None:
        self.view.begin_sweep()
        self.view.end_sweep(self._listed())

    @invariant()
    def what_we_wrote_and_what_was_told_is_known(self) -> None:
        untold = {body["name"] for _, body in self.untold}
        for key in KEYS:
            known_names = self.view.names_of(key)
            assert known_names is not None
            held = {name for name, (owner, _) in self.present.items() if owner == key}
            mine = {name for owner, name in self.ours if owner == key}
            assert held - untold <= known_names
            assert mine & held <= known_names
            if not self.untold:
                assert known_names == held

    def _add(self, key: Key, name: str) -> None:
        self.made += 1
        body = metadata(key, name, f"uid-{self.made}", self.made)
        self.present[name] = (key, body)
        self.untold.append(("ADDED", body))

    def _told(self) -> None:
        waiting = {body["name"] for change, body in self.untold if change == "ADDED"}
        self.ours = {(key, name) for key, name in self.ours if name in waiting}

    def _listed(self) -> dict[str, Known]:
        bodies = [body for _, body in self.present.values()]
        return {str(body["uid"]): kept for body in bodies if (kept := known("Service", body))}


TestNames = Names.TestCase


def test_what_was_refused_is_not_looked_for_for_ever():
    view = View("Service", None, lambda key: None)
    view.replace({})
    view.wrote(KEYS[0], "a")
    view.did_not_write(KEYS[0], "a")
    assert view.names_of(KEYS[0]) == frozenset()


def test_what_we_wrote_is_called_by_its_name_until_it_goes_again():
    view = View("Service", None, lambda key: None)
    view.replace({})
    view.wrote(KEYS[0], "a")
    assert view.names_of(KEYS[0]) == {"a"}
    view.tell("ADDED", metadata(KEYS[0], "a", "uid-1", 1))
    assert view.names_of(KEYS[0]) == {"a"}
    view.tell("DELETED", metadata(KEYS[0], "a", "uid-1", 2))
    assert view.names_of(KEYS[0]) == set()


def test_nobody_can_tell_before_the_first_list():
    assert View("Service", None, lambda key: None).names_of(KEYS[0]) is None


def test_nobody_can_tell_when_the_watch_has_long_been_silent():
    now = 0.0
    view = View("Service", None, lambda key: None, lambda: now)
    view.replace({})
    now = TRUSTED_SECONDS + 1
    assert view.names_of(KEYS[0]) is None
