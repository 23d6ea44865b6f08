"""`smoke` and `load` against a real model server, directly and through an API server's proxy."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from model_operator.cli import picture
from model_operator.cli.load import lines
from model_operator.cli.load_client import Report
from model_operator.cli.reach import load_balancers
from tests.operator.cli import statuses
from tests.operator.cli.api_double import api_server
from tests.operator.cli.command import kubectl_md
from tests.operator.cli.conftest import REVISION
from tests.operator.cli.statuses import NEW, OLD
from tests.operator.loopback import serving

Respond = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def live(url: str = "http://absent.invalid") -> dict[str, Any]:
    body = statuses.ready()
    body["status"]["url"] = url
    return body


def test_the_picture_is_one_that_decoders_take():
    with Image.open(BytesIO(picture.png())) as decoded:
        decoded.load()
        assert (decoded.format, decoded.size, decoded.mode) == ("PNG", (64, 64), "RGB")


async def test_smoke_finds_a_healthy_server_healthy_in_every_respect(model_server):
    done = await kubectl_md("smoke", "--url", model_server)
    assert done.status == 0, done
    assert [line.split()[:2] for line in done.out.splitlines()[:-1]] == [
        ["ok", name] for name in ("health", "ready", "predict", "v2", "metrics")
    ]
    assert done.out.splitlines()[-1] == f"5 of 5 passed, at {model_server}"


async def test_smoke_by_name_reaches_the_service_itself_where_it_can(model_server, tmp_path: Path):
    async with api_server(tmp_path, live(model_server), {}, None) as kubeconfig:
        done = await kubectl_md("smoke", "cats-dogs", "--kubeconfig", kubeconfig, "--json")
    assert done.status == 0, done
    assert done.last["via"] == f"directly, at {model_server}"
    assert done.last["model"] == {"name": "cats-dogs", "version": "2", "revision": REVISION}
    assert len(done.last["checks"]) == 5


@pytest.mark.parametrize("extra", [(), ("--via", "api-server")])
async def test_smoke_by_name_goes_through_the_api_server_where_there_is_no_other_way(
    model_server, tmp_path: Path, extra
):
    async with api_server(tmp_path, live(), {}, model_server) as kubeconfig:
        done = await kubectl_md("smoke", "cats-dogs", "--kubeconfig", kubeconfig, *extra)
    assert done.status == 0, done
    assert done.out.splitlines()[-1] == "5 of 5 passed, through the API server's proxy"


async def test_a_name_that_leads_to_another_server_is_not_taken_for_the_service(
    model_server, tmp_path: Path
):
    async def welcome(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="welcome")

    async with (
        serving(welcome) as elsewhere,
        api_server(tmp_path, live(elsewhere), {}, model_server) as kubeconfig,
    ):
        done = await kubectl_md("smoke", "cats-dogs", "--kubeconfig", kubeconfig)
        insisted = await kubectl_md(
            "smoke", "cats-dogs", "--kubeconfig", kubeconfig, "--via", "service"
        )
    assert done.out.splitlines()[-1] == "5 of 5 passed, through the API server's proxy"
    assert insisted.status == 1
    assert f"no server of cats-dogs's revisions answers at {elsewhere}" in insisted.err


async def test_smoke_says_in_the_clusters_words_that_there_is_no_pod(tmp_path: Path):
    async with api_server(tmp_path, live(), {}, None) as kubeconfig:
        done = await kubectl_md("smoke", "cats-dogs", "--kubeconfig", kubeconfig)
    assert done.status == 1
    assert "503: no endpoints available" in done.out
    assert "0 of 5 passed" in done.out


async def test_a_resource_without_an_endpoint_is_told_from_one_that_does_not_answer(
    tmp_path: Path,
):
    async with api_server(tmp_path, statuses.resource(), {}, None) as kubeconfig:
        done = await kubectl_md("smoke", "cats-dogs", "--kubeconfig", kubeconfig)
    assert done.status == 1
    assert "cats-dogs has no endpoint yet: `kubectl md status cats-dogs` says why" in done.err


async def test_a_revision_that_status_does_not_name_must_not_answer(model_server, tmp_path: Path):
    other = live(model_server)
    other["status"]["stable"]["revision"] = OLD
    async with api_server(tmp_path, other, {}, model_server) as kubeconfig:
        done = await kubectl_md("smoke", "cats-dogs", "--kubeconfig", kubeconfig)
    assert done.status == 1
    assert f"revision {NEW} answered; status names {OLD}" in done.out


async def test_the_same_name_in_another_cluster_is_asked_nothing(model_server, tmp_path: Path):
    """A developer's own cluster may answer to cats-dogs.vision.svc, too."""
    other = live(model_server)
    other["status"]["stable"]["revision"] = OLD
    async with api_server(tmp_path, other, {}, None) as kubeconfig:
        done = await kubectl_md("smoke", "cats-dogs", "--kubeconfig", kubeconfig, "--json")
        insisted = await kubectl_md(
            "smoke", "cats-dogs", "--kubeconfig", kubeconfig, "--via", "service"
        )
    assert done.last["via"] == "through the API server's proxy"
    assert insisted.status == 1
    assert f"no server of cats-dogs's revisions answers at {model_server}" in insisted.err


GOOD = {
    "label": "cat",
    "confidence": 0.9,
    "probabilities": {"cat": 0.9, "dog": 0.1},
    "model": {"name": "m", "version": "1", "revision": NEW},
}


@pytest.mark.parametrize(
    ("prediction", "words"),
    [
        ({**GOOD, "confidence": 9}, "do not agree"),
        ({**GOOD, "label": "bird"}, "do not agree"),
        ({**GOOD, "probabilities": {"cat": 0.9, "dog": 0.9}}, "do not agree"),
        ({**GOOD, "model": {}}, "not a prediction"),
        ([], "not a prediction"),
    ],
)
async def test_a_prediction_that_makes_no_sense_fails_although_it_is_answered_with_200(
    prediction, words
):
    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(prediction)

    async with serving(respond) as url:
        done = await kubectl_md("smoke", "--url", url)
    assert done.status == 1
    (line,) = [line for line in done.out.splitlines() if " predict " in line]
    assert line.startswith("FAIL")
    assert words in line


async def test_load_counts_answers_by_version_and_revision_and_loses_none(model_server):
    done = await kubectl_md(
        *("load", "--url", f"{model_server}/predict", "--rate", "40", "--duration", "1s", "--json")
    )
    assert done.status == 0, done
    report = done.last
    assert report["requests"] == 40
    assert report["failed"] == 0
    assert report["versions"] == {"2": 40}
    assert report["revisions"] == {REVISION: 40}
    assert {"p50", "p95", "p99", "max"} <= report["latency_ms"].keys()


async def test_load_goes_through_the_api_server_with_the_kubeconfigs_token_and_the_given_pictures(
    model_server, tmp_path: Path
):
    pictures = [tmp_path / "a.jpg", tmp_path / "b.png"]
    for path in pictures:
        Image.new("RGB", (80, 60), "red").save(path)
    async with api_server(tmp_path, live(), {}, model_server) as kubeconfig:
        done = await kubectl_md(
            *("load", "cats-dogs", "--kubeconfig", kubeconfig, "--rate", "20", "--duration", "1s"),
            *("--picture", *map(str, pictures)),
        )
    assert done.status == 0, done
    first, *rest = done.out.splitlines()
    assert first.startswith("20 requests in ")
    assert first.endswith("through the API server's proxy: 0 failed")
    assert rest[1].split() == ["version", "2", "20", "answers", "100.0%"]


async def test_load_ends_with_status_1_and_names_what_was_lost():
    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({}, status=503)

    async with serving(respond) as url:
        done = await kubectl_md("load", "--url", url, "--rate", "50", "--duration", "0.2s")
    assert done.status == 1
    assert "failed       503 10" in done.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--url", "ftp://h", "--rate", "1", "--duration", "1s"), "write http://HOST:PORT"),
        (("--url", "http://h:x", "--rate", "1", "--duration", "1s"), "--url http://h:x"),
        (("--url", "http://h", "--rate", "9999", "--duration", "1h"), "between 1 and 500000"),
        (("--url", "http://h", "--rate", "1", "--duration", "0.1s"), "0 requests"),
        (
            ("--url", "http://h", "--rate", "1", "--duration", "1s", "--picture", "absent.jpg"),
            "--picture cannot be read",
        ),
        (
            ("--url", "http://h", "--rate", "1", "--duration", "1s", "--via", "service"),
            "--via is for NAME",
        ),
    ],
)
async def test_a_load_that_cannot_be_sent_is_refused_with_status_2(options, words):
    done = await kubectl_md("load", *options)
    assert done.status == 2
    assert words in done.err


def test_a_client_that_cannot_keep_up_says_that_its_figures_are_its_own_fault():
    report = Report(requests=2, seconds=[0.01, 0.02], behind=0.5)
    report.versions["1"] = 2
    assert "up to 500 ms late: it is too slow for this rate" in lines(report, 1.0, "at x")[-1]
    report.behind = 0.01
    assert "too slow" not in "\n".join(lines(report, 1.0, "at x"))


def test_the_addresses_of_a_load_balancer_are_tried_too():
    ingress = [{"hostname": "cats.example.com"}, {"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}, {}]
    assert list(load_balancers({"status": {"loadBalancer": {"ingress": ingress}}})) == [
        "http://cats.example.com",
        "http://192.0.2.1",
        "http://[2001:db8::1]",
    ]
    assert list(load_balancers({})) == []


async def test_json_of_smoke_is_one_line(model_server):
    done = await kubectl_md("smoke", "--url", model_server, "--json")
    assert json.loads(done.out)["passed"] is True
