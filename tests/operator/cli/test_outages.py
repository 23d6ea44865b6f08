"""What waits for the cluster rides over an API server that does not answer for a while."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from model_operator.actions import ANNOTATION
from model_operator.cli import asking, status
from tests.operator.cli import statuses
from tests.operator.cli.api_double import MODEL, kubeconfig_to
from tests.operator.cli.command import Done, kubectl_md
from tests.operator.loopback import serving


class Failing:
    """An API server whose answers to a look at the resource are given one after another; the last
    one stays. An action is obeyed at once.
    """

    def __init__(self, *answers: int | None) -> None:
        """Statuses; None: the connection is cut."""
        self.answers = list(answers)
        self.body = statuses.canary()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "PATCH":
            asked = (await request.json())["metadata"]["annotations"]
            self.body["metadata"]["annotations"] = asked
            self.body["status"] |= {
                "lastActionId": json.loads(asked[ANNOTATION])["id"],
                "lastAction": {"accepted": True, "message": "aborted", "generation": 7},
            }
            return web.json_response(self.body)
        if request.path != MODEL:
            return web.json_response(
                {"apiVersion": "v1", "items": [], "metadata": {"resourceVersion": "1"}}
            )
        code = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if code is None:
            assert request.transport
            request.transport.close()
        words: dict[str, Any] = {"message": "in its own words"}
        return web.json_response(self.body if code == 200 else words, status=code or 200)


async def md(folder: Path, server: Failing, *arguments: str) -> Done:
    async with serving(server) as url:
        return await kubectl_md("--kubeconfig", kubeconfig_to(url, folder), *arguments)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (asking, status):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


@pytest.mark.parametrize("outage", [(503,), (None, None), (500, None, 429)])
async def test_a_verb_that_was_written_waits_for_its_answer_over_an_outage(tmp_path, outage):
    done = await md(tmp_path, Failing(200, *outage, 200), "abort", "cats-dogs")
    assert (done.status, done.out) == (0, "aborted\n"), done


async def test_a_verb_that_was_written_has_not_failed_because_nobody_answers_any_more(tmp_path):
    server = Failing(200, 503)
    done = await md(tmp_path, server, "abort", "cats-dogs", "--timeout", "1s")
    assert done.status == 3, done
    assert "what was asked for goes on" in done.err
    assert "in its own words" in done.err


async def test_a_verb_that_could_not_be_asked_for_has_failed(tmp_path):
    server = Failing(503)
    done = await md(tmp_path, server, "abort", "cats-dogs")
    assert done.status == 1
    assert "annotations" not in server.body["metadata"]


async def test_what_is_refused_is_no_outage(tmp_path):
    done = await md(tmp_path, Failing(200, 403), "abort", "cats-dogs")
    assert done.status == 1
    assert "you are not allowed" in done.err


@pytest.mark.parametrize("outage", [(503, 503), (None, None), (500, None)])
async def test_who_watches_is_told_of_an_outage_once_and_sees_on(tmp_path, outage):
    server = Failing(200, 200, *outage, 200, 403)
    done = await md(tmp_path, server, "status", "cats-dogs", "--watch")
    assert done.err.count("still watching") == 1, done
    assert done.out.count("modeldeployment/cats-dogs") == 2
    assert "you are not allowed" in done.err.splitlines()[-1]


async def test_what_cannot_be_shown_even_once_is_not_watched(tmp_path):
    done = await md(tmp_path, Failing(503), "status", "cats-dogs", "--watch")
    assert (done.status, done.out) == (1, "")
