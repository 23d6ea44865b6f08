"""The Open Inference Protocol, spoken by Triton's own client to a real server process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray

from model_server.artifact import verify
from model_server.preprocessing import Preprocessor, decode
from tests.server.artifacts import CLASSES, SIDE, encode, make_picture
from tests.server.processes import ServerProcess

MODEL = "cats-dogs"
PICTURES = [encode(make_picture(seed)) for seed in range(4)]


@pytest.fixture(scope="module")
def server(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    environment = {"model_version": "3", "max_images_per_request": 4, "inference_threads": 2}
    server = ServerProcess(artifact, tmp_path_factory.mktemp("v2") / "server", environment)
    try:
        yield server.wait_ready()
    finally:
        server.close()


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as client:
        yield client


def image_input(pictures: list[bytes]) -> triton.InferInput:
    tensor = triton.InferInput("image", [len(pictures)], "BYTES")
    return tensor.set_data_from_numpy(np.array(pictures, dtype=np.object_), binary_data=True)


def tensor_of(pictures: list[bytes], artifact: Path) -> NDArray[np.float32]:
    preprocess = Preprocessor(verify(artifact).manifest.input)
    return np.stack([preprocess(decode(picture, 10**6)) for picture in pictures])


def tensor_input(batch: NDArray[np.float32], *, binary: bool) -> triton.InferInput:
    tensor = triton.InferInput("input", list(batch.shape), "FP32")
    return tensor.set_data_from_numpy(batch, binary_data=binary)


def outputs(*, binary: bool) -> list[triton.InferRequestedOutput]:
    return [
        triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")
    ]


def expected(server: ServerProcess) -> list[dict[str, float]]:
    """What `/predict` answers to the same pictures."""
    files = [("file", ("a", picture, "image/jpeg")) for picture in PICTURES]
    answers = httpx.post(f"{server.url}/predict", files=files).json()
    return [answer["probabilities"] for answer in answers]


def check(
    result: triton.InferResult, server: ServerProcess, *, labels_are_bytes: bool = True
) -> None:
    rows = result.as_numpy("probabilities")
    assert (rows.dtype, rows.shape) == (np.float32, (len(PICTURES), len(CLASSES)))
    wanted = [[row[name] for name in CLASSES] for row in expected(server)]
    np.testing.assert_allclose(rows, wanted, atol=2e-6)
    labels = [CLASSES[column] for column in rows.argmax(axis=1)]
    found = result.as_numpy("label").tolist()
    assert found == [label.encode() if labels_are_bytes else label for label in labels]
    assert len({tuple(row) for row in wanted}) == len(PICTURES), "the pictures must differ"


def test_encoded_pictures_as_binary_data_are_answered_as_predict_answers_them(
    client: triton.InferenceServerClient, server: ServerProcess
):
    check(client.infer(MODEL, [image_input(PICTURES)]), server)


@pytest.mark.parametrize("answer_binary", [True, False])
@pytest.mark.parametrize("binary", [True, False])
def test_a_ready_tensor_is_answered_as_its_pictures_are_in_json_and_in_binary_data(
    client: triton.InferenceServerClient,
    server: ServerProcess,
    artifact: Path,
    binary: bool,
    answer_binary: bool,
):
    batch = tensor_of(PICTURES, artifact)
    result = client.infer(
        MODEL, [tensor_input(batch, binary=binary)], outputs=outputs(binary=answer_binary)
    )
    check(result, server, labels_are_bytes=answer_binary)


def test_outputs_are_those_asked_for_each_in_its_own_form(client: triton.InferenceServerClient):
    asked = [triton.InferRequestedOutput("label", binary_data=False)]
    result = client.infer(MODEL, [image_input(PICTURES[:1])], outputs=asked, request_id="abc")
    answer = result.get_response()
    assert [output["name"] for output in answer["outputs"]] == ["label"]
    assert answer["outputs"][0]["data"][0] in CLASSES
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("abc", MODEL, "3")


def test_metadata_names_inputs_and_outputs_with_their_shapes(client: triton.InferenceServerClient):
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(MODEL, "3")
    assert (metadata["name"], metadata["versions"]) == (MODEL, ["3"])
    tensors = {
        tensor["name"]: (tensor["datatype"], tensor["shape"])
        for tensor in metadata["inputs"] + metadata["outputs"]
    }
    assert tensors == {
        "image": ("BYTES", [-1]),
        "input": ("FP32", [-1, 3, SIDE, SIDE]),
        "probabilities": ("FP32", [-1, len(CLASSES)]),
        "label": ("BYTES", [-1]),
    }
    assert metadata["outputs"][0]["parameters"]["classes"] == list(CLASSES)


def test_the_server_and_its_model_are_live_and_ready(client: triton.InferenceServerClient):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "3")
    assert not client.is_model_ready(MODEL, "4")
    assert not client.is_model_ready("dogs-cats")


@pytest.mark.parametrize(
    ("model", "version", "pictures", "status", "sentence"),
    [
        ("dogs-cats", "", PICTURES, "404", "'dogs-cats' is not served here"),
        (MODEL, "4", PICTURES, "404", "has 'cats-dogs' in version '3'"),
        (MODEL, "", [*PICTURES, PICTURES[0]], "413", "5 pictures, more than 4"),
        (MODEL, "3", [b"text"], "400", "not a JPEG, PNG or WebP"),
    ],
)
def test_a_refusal_reaches_the_client_as_a_sentence(
    client: triton.InferenceServerClient,
    model: str,
    version: str,
    pictures: list[bytes],
    status: str,
    sentence: str,
):
    with pytest.raises(triton.InferenceServerException, match=sentence) as raised:
        client.infer(model, [image_input(pictures)], model_version=version)
    assert raised.value.status() == status


def test_a_compressed_request_is_refused_with_a_sentence(client: triton.InferenceServerClient):
    with pytest.raises(triton.InferenceServerException, match="Content-Encoding is gzip"):
        client.infer(MODEL, [image_input(PICTURES)], request_compression_algorithm="gzip")


def test_requests_of_both_kinds_at_once_are_each_answered_for_their_own_picture(
    client: triton.InferenceServerClient, server: ServerProcess, artifact: Path
):
    wanted = [[row[name] for name in CLASSES] for row in expected(server)]
    inputs = [image_input([picture]) for picture in PICTURES]
    inputs += [tensor_input(tensor_of([picture], artifact), binary=True) for picture in PICTURES]
    waiting = [client.async_infer(MODEL, [tensor]) for tensor in inputs * 4]
    rows = np.concatenate([request.get_result().as_numpy("probabilities") for request in waiting])
    np.testing.assert_allclose(rows, np.tile(wanted, (8, 1)), atol=2e-6)


def share_of_longest_probe(server: ServerProcess, body: bytes) -> float:
    """Send `body` twice at once; the longest probe meanwhile, as a part of the requests' time."""
    url = f"{server.url}/v2/models/{MODEL}/infer"
    longest = 0.0
    with ThreadPoolExecutor(2) as pool, httpx.Client(base_url=server.url) as probes:
        requests = [pool.submit(httpx.post, url, content=body, timeout=60) for _ in range(2)]
        while not all(request.done() for request in requests):
            asked = time.perf_counter()
            assert probes.get("/v2/health/live").status_code == 200
            longest = max(longest, time.perf_counter() - asked)
    assert {request.result().status_code for request in requests} == {422}
    return longest / min(request.result().elapsed.total_seconds() for request in requests)


def test_probes_are_answered_while_the_largest_json_tensors_are_read(server: ServerProcess):
    """The event loop gets its turn between the numbers; read in one go, they would hold it up.

    The best of three, since others' work on this machine holds up a probe as well.
    """
    numbers = b"[" + b",".join([b"0.12345678901234567"] * 500_000) + b"]"
    keys = (
        b"{" + b",".join(b'"%d":""' % number for number in range(24_000)) + b"}"
    )  # as many as may
    tensor = b'{"name":"input","datatype":"FP32","shape":[4,3,32,32],"data":%s,"parameters":%s}'
    tensor %= (numbers, keys)
    shares = [share_of_longest_probe(server, b'{"inputs":[%s]}' % tensor) for _ in range(3)]
    assert min(shares) < 1 / 3, shares
