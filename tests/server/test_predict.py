from __future__ import annotations

import asyncio
import base64
import gzip
import math
import threading
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from types import ModuleType

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from structlog.testing import capture_logs

from model_server.artifact import verify
from model_server.rest import predict, v2_protocol
from model_server.weights import load_network
from tests.server.artifacts import CLASSES, SIDE, encode, make_picture

JPEG = encode(make_picture())
IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1]}
IN_V2 = {"inputs": [{**IMAGE, "data": [base64.b64encode(JPEG).decode()]}]}
FORMATS = [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")]


def form(*parts: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [(name, ("picture", content, "image/jpeg")) for name, content in parts]


@pytest.mark.parametrize(("format_name", "media_type"), FORMATS)
async def test_a_raw_picture_is_answered_with_label_probabilities_and_model(
    client: httpx.AsyncClient, format_name: str, media_type: str
):
    body = encode(make_picture(), format_name)
    response = await client.post("/predict", content=body, headers={"content-type": media_type})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer["probabilities"]) == set(CLASSES)
    assert math.isclose(sum(answer["probabilities"].values()), 1, abs_tol=1e-5)
    assert answer["confidence"] == max(answer["probabilities"].values())
    assert answer["probabilities"][answer["label"]] == answer["confidence"]
    assert answer["model"] == {"name": "cats-dogs", "version": "3", "revision": "0123456789"}
    assert answer["inference_time_ms"] > 0
    assert response.headers["x-request-id"] == answer["request_id"]


async def test_the_probabilities_are_those_of_the_network_on_the_preprocessed_picture(
    client: httpx.AsyncClient, artifact: Path
):
    body = encode(make_picture(width=200, height=90), "PNG")
    picture = Image.open(BytesIO(body)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = (np.asarray(picture, np.float32) / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.6, 0.7]
    batch = torch.tensor(pixels.transpose(2, 0, 1), dtype=torch.float32).unsqueeze(0)
    expected = load_network(verify(artifact))(batch).softmax(1)[0].tolist()
    response = await client.post("/predict", content=body, headers={"content-type": "image/png"})
    found = response.json()["probabilities"]
    assert [found[name] for name in CLASSES] == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("module", "name", "path", "content"),
    [
        (predict, "_answers", "/predict", {"image": base64.b64encode(JPEG).decode()}),
        (v2_protocol, "write_answer", "/v2/models/cats-dogs/infer", IN_V2),
    ],
)
async def test_an_answer_is_written_in_the_thread_of_its_prediction(
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    path: str,
    content: object,
):
    threads, write = [], getattr(module, name)

    def seen(*given: object) -> object:
        threads.append(threading.current_thread().name)
        return write(*given)

    monkeypatch.setattr(module, name, seen)
    assert (await client.post(path, json=content)).status_code == 200
    [thread] = threads
    assert thread.startswith("inference")


async def test_a_form_with_one_file_is_answered_by_one_object(client: httpx.AsyncClient):
    response = await client.post("/predict", files=form(("file", JPEG)))
    assert response.json()["label"] in CLASSES


async def test_a_form_with_several_files_is_answered_by_a_list_in_their_order(
    client: httpx.AsyncClient,
):
    pictures = [encode(make_picture(seed)) for seed in range(4)]
    alone = [
        (await client.post("/predict", files=form(("file", one)))).json()["probabilities"]
        for one in pictures
    ]
    together = await client.post("/predict", files=form(*(("file", one) for one in pictures)))
    for found, expected in zip(together.json(), alone, strict=True):
        assert found["probabilities"] == pytest.approx(expected, abs=2e-6)
    assert len({tuple(one.values()) for one in alone}) == 4, "the pictures must differ"


async def test_other_parts_of_a_form_are_passed_over(client: httpx.AsyncClient):
    response = await client.post(
        "/predict", files=form(("file", JPEG), ("other", b"x")), data={"note": "n", "file": "text"}
    )
    assert response.json()["label"] in CLASSES


async def test_a_picture_is_turned_as_its_exif_says(client: httpx.AsyncClient):
    picture = make_picture(width=60, height=40)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    turned = encode(picture, "PNG", exif=exif)
    upright = encode(picture.transpose(Image.Transpose.ROTATE_270), "PNG")
    answers = [
        await client.post("/predict", content=body, headers={"content-type": "image/png"})
        for body in (turned, upright, encode(picture, "PNG"))
    ]
    assert answers[0].json()["probabilities"] == answers[1].json()["probabilities"]
    assert answers[0].json()["probabilities"] != answers[2].json()["probabilities"]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
async def test_pictures_of_other_modes_are_converted(client: httpx.AsyncClient, mode: str):
    picture = make_picture().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 256)
    body = encode(picture, "JPEG" if mode == "CMYK" else "PNG")
    response = await client.post("/predict", files=form(("file", body)))
    assert response.status_code == 200, response.text


async def test_a_palette_with_transparency_is_read_without_a_warning(client: httpx.AsyncClient):
    body = encode(make_picture().convert("P"), "PNG", transparency=b"\x00\x80")
    response = await client.post("/predict", files=form(("file", body)))
    assert response.status_code == 200, response.text


def animated() -> bytes:
    frames = [make_picture(seed) for seed in range(3)]
    return encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)


async def test_of_an_animation_the_first_frame_counts(client: httpx.AsyncClient):
    first = await client.post("/predict", files=form(("file", animated())))
    alone = await client.post(
        "/predict", files=form(("file", encode(make_picture(0), "WEBP", lossless=True)))
    )
    assert first.json()["probabilities"] == alone.json()["probabilities"]


async def test_a_body_that_trickles_in_is_answered_408(client: httpx.AsyncClient):
    async def trickle() -> AsyncIterator[bytes]:
        yield JPEG[:100]
        await asyncio.Event().wait()

    response = await client.post(
        "/predict", content=trickle(), headers={"content-type": "image/jpeg"}
    )
    assert response.status_code == 408
    assert "did not arrive within 0.3 s" in response.json()["detail"]


async def test_before_the_model_is_loaded_predictions_are_answered_503(
    loading_client: httpx.AsyncClient,
):
    response = await loading_client.post("/predict", files=form(("file", JPEG)))
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "still being verified and loaded" in response.json()["detail"]


async def test_an_error_nobody_foresaw_is_a_problem_and_leaves_its_trace_in_the_log(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("model_server.rest.pictures.find", lambda *_, **__: 1 / 0)
    with capture_logs() as logs:
        response = await client.post("/predict", files=form(("file", JPEG)))
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "ZeroDivisionError" not in response.text
    assert any(entry["log_level"] == "error" and entry.get("exc_info") for entry in logs)


async def test_each_request_is_one_log_line_with_its_prediction(client: httpx.AsyncClient):
    with capture_logs() as logs:
        response = await client.post(
            "/predict", files=form(("file", JPEG)), headers={"x-request-id": "abc-1"}
        )
    answer = response.json()
    assert answer["request_id"] == "abc-1"
    [line] = logs
    assert line["event"] == "request"
    assert line["request_id"] == "abc-1"
    assert line["model_version"] == "3"
    assert line["prediction"] == answer["label"]
    assert line["confidence"] == answer["confidence"]
    assert line["inference_time"] == pytest.approx(answer["inference_time_ms"] / 1000, abs=1e-6)
    assert line["status"] == 200


@pytest.mark.parametrize("sent", ["a b", "x" * 129, "a\tb", ""])
async def test_a_request_id_unfit_for_logs_is_replaced(client: httpx.AsyncClient, sent: str):
    response = await client.get("/health", headers={"x-request-id": sent})
    assert len(response.headers["x-request-id"]) == 32


async def test_answers_belong_to_their_own_pictures_under_concurrency(client: httpx.AsyncClient):
    pictures = [encode(make_picture(seed)) for seed in range(20)]

    async def probabilities(body: bytes) -> dict[str, float]:
        response = await client.post("/predict", files=form(("file", body)))
        found: dict[str, float] = response.json()["probabilities"]
        return found

    one_by_one = [await probabilities(body) for body in pictures]
    at_once = await asyncio.gather(*(probabilities(body) for body in pictures))
    assert at_once == one_by_one


async def test_a_picture_in_json_is_answered_as_the_same_picture_in_a_form(
    client: httpx.AsyncClient,
):
    in_form = await client.post("/predict", files=form(("file", JPEG)))
    in_json = await client.post("/predict", json={"image": base64.b64encode(JPEG).decode()})
    assert in_json.json()["probabilities"] == in_form.json()["probabilities"]


@pytest.mark.parametrize("count", [1, 4])
async def test_a_list_of_pictures_in_json_is_answered_by_a_list_in_their_order(
    client: httpx.AsyncClient, count: int
):
    pictures = [encode(make_picture(seed)) for seed in range(count)]
    texts = [base64.b64encode(one).decode() for one in pictures]
    alone = [(await client.post("/predict", json={"image": text})).json() for text in texts]
    together = (await client.post("/predict", json={"images": texts})).json()
    for found, expected in zip(together, alone, strict=True):
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=2e-6)


async def test_a_body_whose_encoding_is_named_as_none_is_read(client: httpx.AsyncClient):
    headers = {"content-type": "image/jpeg", "content-encoding": "identity"}
    assert (await client.post("/predict", content=JPEG, headers=headers)).status_code == 200


async def test_a_refused_encoding_is_answered_with_the_one_that_is_taken(client: httpx.AsyncClient):
    headers = {"content-type": "image/jpeg", "content-encoding": "gzip"}
    response = await client.post("/predict", content=gzip.compress(JPEG), headers=headers)
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "identity")
