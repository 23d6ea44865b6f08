"""Each answer belongs to its own picture: a share of `python -m tests.server.own_answers`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.server import own_answers
from tests.server.load import Answer
from tests.server.processes import ServerProcess


def test_each_of_many_answers_belongs_to_its_own_picture(
    start_server: Callable[..., ServerProcess], tmp_path: Path
):
    artifact = own_answers.make_wide_artifact(tmp_path / "wide")
    server = start_server(artifact, queue_size=own_answers.CONNECTIONS).wait_ready()
    result = own_answers.run(artifact, ("127.0.0.1", server.port), 2_000)
    assert result.wrong == []
    assert result.requests > 2_000


def test_the_check_tells_whose_answer_was_given_instead(tmp_path: Path):
    artifact = own_answers.make_wide_artifact(tmp_path / "wide")
    expected = own_answers.expect(artifact, own_answers.make_pictures(10))

    def answer(*numbers: int) -> Answer:
        rows = [dict(zip(own_answers.CLASSES, expected[n].tolist(), strict=True)) for n in numbers]
        return Answer(200, json.dumps([{"probabilities": row} for row in rows]).encode(), False)

    sent = own_answers.Sent((3, 4, 5), b"")
    assert list(own_answers.judge(sent, answer(3, 4, 5), expected)) == []
    assert list(own_answers.judge(sent, answer(3, 5, 4), expected)) == [
        "picture 4: the answer is picture 5's",
        "picture 5: the answer is picture 4's",
    ]
    assert list(own_answers.judge(sent, answer(3, 4), expected)) == [
        "pictures (3, 4, 5): 2 answers"
    ]
