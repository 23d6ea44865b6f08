"""Bad requests, each with the problem that answers it. None ends in a 500."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.server.artifacts import CLASSES, encode, make_picture
from tests.server.bad_inputs import INFER, JPEG, Bad, png16, typed, webp_canvas
from tests.server.bad_predict import FORMS, GOOD, JSON, PICTURES, TYPES
from tests.server.bad_protocol import PROTOCOL

HTTP = [
    Bad("GET /predict", 405, "method-not-allowed", "does not take GET", method="GET"),
    Bad("PUT /predict", 405, "method-not-allowed", "does not take PUT", JPEG, method="PUT"),
    Bad("no such method", 405, "method-not-allowed", "does not take BREW", method="BREW"),
    Bad("GET of infer", 405, "method-not-allowed", "does not take GET", path=INFER, method="GET"),
    Bad("POST /health", 405, "method-not-allowed", "does not take POST", path="/health"),
    Bad("an unknown path", 404, "not-found", "nothing at /predicts", path="/predicts"),
    Bad("a slash too many", 404, "not-found", "nothing at /predict/", JPEG, path="/predict/"),
    Bad("no such protocol", 404, "not-found", "nothing at /v2/infer", path="/v2/infer"),
    Bad(
        "a way out",
        404,
        "not-found",
        "nothing at",
        path="/docs/assets/..%2f..%2fetc/passwd",
        method="GET",
    ),
    Bad(
        "too many bytes",
        413,
        "body-too-large",
        "longer than 200000 bytes",
        bytes(200_001),
        typed("image/png"),
    ),
    Bad(
        "too many bytes for the protocol",
        413,
        "body-too-large",
        "longer than",
        bytes(200_001),
        typed("application/json"),
        INFER,
    ),
]
TABLE = [*PICTURES, *TYPES, *FORMS, *JSON, *PROTOCOL, *HTTP]


async def trickle() -> AsyncIterator[bytes]:
    yield JPEG[:100]
    await asyncio.Event().wait()


def slow(path: str) -> Bad:
    """A body that never ends; made anew for each request, as it can be sent once."""
    sentence = "did not arrive within 0.3 s"
    return Bad(f"slow: {path}", 408, "body-timeout", sentence, trickle(), typed("image/png"), path)


async def wrong(client: httpx.AsyncClient, bad: Bad) -> str | None:
    """Send `bad`; return how its answer differs from the expected one, None if it does not."""
    response = await client.request(
        bad.method, bad.path, content=bad.body, headers=dict(bad.headers)
    )
    if response.headers["content-type"] != "application/problem+json":
        return f"{bad.name}: {response.status_code} {response.text[:200]}"
    problem = response.json()
    sentence = problem["detail"]
    expected = {
        "type": f"urn:cv-factory:problem:{bad.slug}",
        "title": problem["title"],
        "status": bad.status,
        "detail": sentence,
        "request_id": response.headers["x-request-id"],
        **({"error": sentence} if bad.path.startswith("/v2/") else {}),
    }
    found = (response.status_code, problem)
    if found != (bad.status, expected) or bad.sentence not in sentence or len(sentence) > 400:
        return f"{bad.name}: {bad.status} {bad.slug} {bad.sentence!r} expected, but {found}"
    return None


async def test_every_bad_input_is_answered_by_its_own_problem_and_the_server_lives_on(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
):
    table = [*TABLE, slow("/predict"), slow(INFER)]
    assert len({bad.name for bad in table}) > 60
    found = [difference for bad in table if (difference := await wrong(client, bad))]
    good = await client.post("/predict", json={"image": GOOD})
    assert good.json()["label"] in CLASSES
    assert not found, f"{len(found)} differ:\n" + "\n".join(found)
    failed = [
        line for line in (await client.get("/metrics")).text.splitlines() if 'status="5' in line
    ]
    assert all(line.endswith(" 0.0") for line in failed), failed
    with capsys.disabled():
        sys.stdout.write(f" bad inputs {len(table)}, answered as listed {len(table)}, 500s 0 ")


def apng() -> bytes:
    frames = [make_picture(seed) for seed in range(3)]
    return encode(frames[0], "PNG", save_all=True, append_images=frames[1:])


ODD = {
    "one pixel": encode(make_picture(width=1, height=1), "PNG"),
    "a line": encode(make_picture(width=5000, height=1), "PNG"),
    "an animated PNG": apng(),
    "16 bits per channel": png16(),
    "CMYK": encode(make_picture().convert("CMYK")),
    "a progressive JPEG": encode(make_picture(), progressive=True),
    "a grey JPEG": encode(make_picture().convert("L")),
    "a palette of 2 colours": encode(make_picture().convert("P", colors=2), "PNG", bits=1),
    "a lossless WebP with alpha": encode(make_picture().convert("RGBA"), "WEBP", lossless=True),
    "a JPEG with something behind": JPEG + b"trailer" * 100,
    "an animated WebP": webp_canvas(64, 64),
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD.keys())
async def test_an_odd_picture_is_still_a_picture(client: httpx.AsyncClient, body: bytes):
    response = await client.post("/predict", content=body, headers=typed("image/png"))
    assert response.status_code == 200, response.text


def test_a_damaged_exif_block_is_passed_over_without_a_line_that_is_no_log():
    five_tags_of_which_none_follows = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00"
    body = encode(make_picture(), exif=five_tags_of_which_none_follows)
    script = (
        "import sys; from model_server.preprocessing import decode;"
        "print(decode(sys.stdin.buffer.read(), 10**6).size)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"(64, 64)\n", b"")
