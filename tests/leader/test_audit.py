"""The count of writes of a deposed leader: it sees each of them, and no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.leader.audit import AuditLog, Lead, Write, first_write_of_another, leads, out_of_turn


def lease(at: float, sender: str, holder: str, code: int = 200) -> Write:
    return Write(at, at + 0.01, sender, "patch leases cv-factory-operator", code, holder)


def child(at: float, sender: str, code: int = 200, seconds: float = 0.01) -> Write:
    return Write(at, at + seconds, sender, "patch deployments/scale cats-dogs-1", code)


HISTORY = [
    lease(10, "a", "a"),
    lease(12, "a", "a"),
    lease(20, "b", "b", code=409),
    lease(27, "b", "b"),
    lease(40, "b", ""),
    lease(41, "a", "a"),
]


def test_a_lead_lasts_from_the_request_that_took_the_lease_to_the_next_holders():
    assert leads(HISTORY) == [
        Lead("a", 10, 27),
        Lead("b", 27, 40),
        Lead("a", 41, float("inf")),
    ]


@pytest.mark.parametrize(
    "write", [child(11, "a"), child(26.9, "a"), child(28, "b"), child(39, "b"), child(50, "a")]
)
def test_a_write_of_the_leader_is_in_turn(write: Write):
    assert out_of_turn([*HISTORY, write]) == []


@pytest.mark.parametrize(
    "write",
    [
        child(27.5, "a"),
        child(39, "a"),
        child(39, "a", code=409),
        child(26.9, "a", seconds=0.2),
        child(9, "a"),
        child(40.5, "b"),
        child(28, "c"),
    ],
)
def test_a_write_of_anybody_else_is_out_of_turn_whatever_was_answered(write: Write):
    assert out_of_turn([*HISTORY, write]) == [write]


def test_a_takeover_is_the_next_leaders_first_write_to_a_child():
    status = Write(28, 28.1, "b", "update modeldeployments/status cats-dogs", 200)
    event = Write(28.2, 28.3, "b", "create events ", 201)
    writes = [child(26, "b"), *HISTORY, status, event, child(29, "b", code=409), child(30, "b")]
    assert first_write_of_another(writes, "a", after=27) == child(30, "b")
    assert first_write_of_another(writes, "b", after=27) is None


def entry(agent: str, **members: Any) -> bytes:
    event = {
        "userAgent": agent,
        "verb": "patch",
        "objectRef": {"resource": "deployments", "subresource": "scale", "name": "d"},
        "requestReceivedTimestamp": "2026-11-22T10:00:00.250000Z",
        "stageTimestamp": "2026-11-22T10:00:00.500000Z",
        "responseStatus": {"code": 200},
        **members,
    }
    return json.dumps(event).encode() + b"\n"


def test_the_log_is_read_as_it_grows_line_by_whole_line(tmp_path):
    file = tmp_path / "audit.log"
    ours = entry("model-operator/0.1.0 (pod-a_1)")
    file.write_bytes(ours + entry("kubectl/v1") + ours[:40])
    log = AuditLog(file)
    (write,) = log.follow()
    assert (write.identity, write.what, write.code) == ("pod-a_1", "patch deployments/scale d", 200)
    assert write.ended - write.began == 0.25
    assert log.follow() == []
    with file.open("ab") as end:
        end.write(ours[40:])
    assert len(log.follow()) == 1
    assert len(log.writes) == 2


@pytest.mark.parametrize(("holder", "read"), [("pod-a_1", "pod-a_1"), (None, "")])
def test_who_holds_the_lease_is_read_from_what_was_asked_for(tmp_path, holder, read):
    file = tmp_path / "audit.log"
    target = {"resource": "leases", "name": "cv-factory-operator"}
    body = {"spec": {"holderIdentity": holder}}
    file.write_bytes(entry("model-operator/0.1.0 (pod-a_1)", objectRef=target, requestObject=body))
    (write,) = AuditLog(file).follow()
    assert write.holder == read
